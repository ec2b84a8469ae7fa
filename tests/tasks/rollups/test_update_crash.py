"""Real processes: writers that commit out of order, and updates that are killed at any instant."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import textwrap

import pytest
from sqlalchemy import Engine, func, select

from models.database import reading
from models.tables import Selection, table_of
from tasks.rollups.update import update_rollups
from tests.support.paths import ROOT
from tests.support.rollups import NOW, UTC_SETTINGS, assert_rollups_are_of, raw_of

FEW_KILLS, KILLS = 2, int(os.environ.get("ROUTEWATCH_KILLS", "6"))
"""50 take a few minutes."""

WRITER = """
    import random, sys
    from datetime import timedelta
    from sqlalchemy import text
    from models.database import connect
    from models.tables import Selection, table_of
    from tests.support.factories import MONDAY
    address, seed, batches = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    engine = connect(address)
    for batch in range(batches):
        rows = [
            {"timestamp": MONDAY + timedelta(seconds=chance.randrange(36 * 3600)),
             "model_id": f"m{chance.randrange(3)}", "team": f"t{seed}", "error": chance.random() < 0.1,
             "response_time_ms": chance.choice([None, 10.0, 3000.0]), "cost_usd": chance.choice([None, 0.25, 1.5])}
            for _ in range(chance.randrange(1, 30))
        ]
        with engine.connect().execution_options(routewatch_writes=True) as connection, connection.begin():
            connection.execute(table_of(Selection).insert(), rows)
            if engine.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_sleep({chance.random() * 0.05})"))
    print(batches)
"""
FOLDER = """
    import sys
    from models.database import connect
    from tasks.rollups.update import update_rollups
    from tests.support.rollups import NOW, UTC_SETTINGS
    engine = connect(sys.argv[1])
    print("ready", flush=True)
    while True:
        update_rollups(engine, UTC_SETTINGS, now=NOW)
"""


def start(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def kill_after(process: subprocess.Popen[str], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("kills", "writing"), [(FEW_KILLS, 2), pytest.param(KILLS, 4, marks=pytest.mark.slow, id="for a release")]
)
def test_updates_killed_at_any_instant_count_every_row_once(engine: Engine, kills: int, writing: int) -> None:
    address = engine.url.render_as_string(hide_password=False)
    chance = random.Random(7)  # noqa: S311 - no secret
    writers = [start(WRITER, address, str(seed), str(20 * kills)) for seed in range(writing)]
    for _ in range(kills):
        folding = start(FOLDER, address)
        assert folding.stdout is not None
        assert folding.stdout.readline() == "ready\n"
        kill_after(folding, chance.uniform(0.0, 0.8))
        folding.stdout.close()
    reported = [writer.communicate(timeout=300)[0] for writer in writers]
    assert reported == [f"{20 * kills}\n"] * writing
    update_rollups(engine, UTC_SETTINGS, now=NOW)
    with reading(engine) as connection:
        assert (connection.scalar(select(func.count()).select_from(table_of(Selection))) or 0) > 20 * kills
    assert_rollups_are_of(engine, raw_of(engine))
