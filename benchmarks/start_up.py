"""What a command takes of the processor from its start to its end, and how that compares with Prefect's own command.

Seconds are those of the processor, user and system together, of the command and what it starts: on a machine that
others use too they say more than the clock does, though not everything.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.line import Goal, Line
from benchmarks.scene import Scene
from examples.simulated_router import DEFAULT_CONFIG, simulate
from models.database import connect, migrate
from tasks.optimizer.router_config import set_by_hand
from tasks.rollups.checkpoint import RollupSettings
from tasks.rollups.update import update_rollups
from tests.support.environment import clean_environment
from tests.support.factories import insert_selections

ROUNDS = 5
START = datetime(2026, 9, 7, tzinfo=UTC)
END = START + timedelta(weeks=1)

REPORT = ("report", "performance", "--from", START.isoformat(), "--to", END.isoformat(), "--format")

COMMANDS: Mapping[tuple[str, ...], float] = {
    ("--help",): 0.25,
    ("config", "get"): 0.6,
    ("deliveries", "list"): 0.6,
    ("alerts", "list"): 0.6,
    ("optimizations", "list"): 0.6,
    (*REPORT, "json"): 1.5,
    (*REPORT, "pdf", "-o", "report.pdf"): 4.0,
    ("doctor",): 3.0,
}
"""Each command, and the most seconds of the processor that it is to take on a machine that has nothing else to do."""

PEERS: Mapping[str, tuple[str, ...]] = {
    "python -c pass": ("-c", "pass"),
    "import typer": ("-c", "import typer"),
    "prefect version": ("-m", "prefect", "version"),
}
PEER = "prefect version"
"""A command of a comparable program, which reads no database either way."""

STATUSES = {("doctor",): (0, 1)}
"""It finds fault with a machine that has no mail server."""


def lines(scene: Scene) -> Iterator[Line]:
    scene.say("storing a week of the simulated router's log")
    home = scene.folder / "start-up"
    rows = _fill(home)
    programs = {name: (sys.executable, *words) for name, words in PEERS.items()}
    ours = {_name(words): (str(Path(sys.executable).with_name("routewatch")), *words) for words in COMMANDS}
    allowed = {_name(words): statuses for words, statuses in STATUSES.items()}
    taken: dict[str, list[float]] = {name: [] for name in (*programs, *ours)}
    # The first turn warms the disk's cache, and what Python keeps of the modules that it reads.
    for turn in range(ROUNDS + 1):
        for name, command in (programs | ours).items():
            scene.say(f"starting {name}")
            seconds = _processor_s(command, home, allowed.get(name, (0,)))
            if turn:
                taken[name].append(seconds)
    for name in programs:
        yield Line(f"processor time of `{name}`", "none", 0, tuple(taken[name]), unit="s")
    for words, most in COMMANDS.items():
        name = _name(words)
        yield Line(
            f"processor time of `routewatch {name}`", "sqlite", rows, tuple(taken[name]), unit="s",
            goal=Goal(most, at_least=False), note="the goal is of a machine that has nothing else to do",
        )  # fmt: skip
        ratios = tuple(mine / theirs for mine, theirs in zip(taken[name], taken[PEER], strict=True))
        yield Line(f"the same of `{PEER}`'s", "sqlite", rows, (statistics.median(ratios),))


# ----------------------------------------------------------------------------------------------------------------------


def _fill(home: Path) -> int:
    """A database with a week of selections, counted, and the router's config; how many selections."""
    home.mkdir(exist_ok=True)
    address = f"sqlite:///{home}/routewatch.db"
    migrate(address)
    engine = connect(address)
    selections = simulate(START, END, DEFAULT_CONFIG)
    insert_selections(engine, selections)
    for key, value in DEFAULT_CONFIG.items():
        set_by_hand(engine, key, value, by="router", reason="the router's own default", now=START)
    update_rollups(engine, RollupSettings("UTC", 2000.0), now=END)
    engine.dispose()
    return selections.height


def _processor_s(command: Sequence[str], home: Path, statuses: Sequence[int]) -> float:
    """Seconds that a command took of the processor. Raises RuntimeError where it fails."""
    environment = clean_environment(ROUTEWATCH_HOME=str(home), PREFECT_HOME=str(home / "prefect"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 - our own
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in statuses:
        raise RuntimeError(f"{' '.join(command[1:])}: {done.stderr.strip()[-200:]}")
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def _name(words: Sequence[str]) -> str:
    """The command's words, without a report's period and file."""
    skipped = {"--from", "--to", "-o", START.isoformat(), END.isoformat(), "report.pdf"}
    return " ".join(word for word in words if word not in skipped)
