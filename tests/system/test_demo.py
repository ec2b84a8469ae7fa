"""The whole demo, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ENDED = {"kept", "reverted", "expired"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demo's home after a run, and what it said."""
    home = tmp_path_factory.mktemp("home")
    command = [str(Path(sys.executable).with_name("routewatch")), "demo"]
    ran = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"ROUTEWATCH_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr[-3_000:]
    return home / "demo", ran.stdout


def verdicts(home: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """The first trial by each method: the optimization's state and its verdict."""
    with sqlite3.connect(home / "routewatch.db") as database:
        rows = database.execute("SELECT state, verdict FROM optimization WHERE verdict IS NOT NULL ORDER BY id DESC")
        return {verdict["method"]: (state, verdict) for state, verdict in ((it, json.loads(text)) for it, text in rows)}


@pytest.mark.slow
def test_a_rollout_and_a_switchback_run_whole_and_are_told_with_a_picture(demo: tuple[Path, str]) -> None:
    home, said = demo
    tried = verdicts(home)
    for method, ends in (("split", {"promote", "rollBack"}), ("switchback", {"promote", "rollBack"})):
        state, verdict = tried[method]
        assert state in ENDED, method
        assert verdict["conclusion"] is not None, method
        assert verdict["trial"]["steps"][0]["action"] == "start", method
        assert verdict["trial"]["steps"][-1]["action"] in ends, method
        goal = [point for point in verdict["trial"]["series"] if point["metric"] == verdict["goal"]["metric"]]
        assert len(goal) > 1, f"{method}: no picture of one point"
    (page,) = (home / "reports" / "weekly").glob("*.html")
    html = page.read_text(encoding="utf-8")
    assert "How changes were tried" in html
    for text in ("#1 routing.simple: atlas-large → swift-mini", "#2 cache.max_entries: 400 → 800"):
        assert text.partition(" ")[2] in html, text
        assert text in said, text
    assert "rollout to a random share of the requests" in said
    assert "switchback, old and new in turns" in said
    assert "'candidate':" not in html, "a value of the config is told in words"


@pytest.mark.slow
def test_every_value_of_the_demos_config_is_explained_by_a_change(demo: tuple[Path, str]) -> None:
    home, _ = demo
    with sqlite3.connect(home / "routewatch.db") as database:
        now = dict(database.execute("SELECT key, CAST(value AS TEXT) FROM config"))
        last = dict(database.execute("SELECT key, CAST(to_value AS TEXT) FROM config_change ORDER BY id"))
    assert {key: json.loads(text) for key, text in now.items()} == {
        key: json.loads(text) for key, text in last.items() if text is not None
    }
