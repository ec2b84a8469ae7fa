"""The interface answers as its OpenAPI document states, for whatever requests schemathesis derives from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine

from tests.support.page_server import ADMIN, READER, filled, listening

PROGRAM = Path(sys.executable).parent / "st"


@pytest.mark.slow  # At every change, `test_api.py` tries each operation.
@pytest.mark.parametrize(("token", "phases"), [(ADMIN, "coverage,fuzzing"), (READER, "fuzzing")])
def test_no_answer_is_a_servers_error_or_undocumented(
    sqlite_engine: Engine, tmp_path: Path, token: str, phases: str
) -> None:
    """Also: nothing is answered without a token, and no documented request is refused.

    Selections that are not as documented are refused one by one, with 207 or 413, which that check does not know.
    """
    with listening(filled(sqlite_engine, tmp_path)) as (address, _):
        done = subprocess.run(
            [
                PROGRAM, "run", f"{address}/openapi.json", "--header", f"Authorization: Bearer {token}", "--no-color",
                "--phases", phases, "--max-examples", "8", "--seed", "7",
                "--exclude-checks", "negative_data_rejection",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6_000:]
    assert "Tested: 11" in done.stdout
