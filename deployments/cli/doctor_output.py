"""Telling what a check-up found: a table on a terminal, a line a check in a pipe, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence

from deployments.console import say
from tasks.health.check import Checked, State
from tasks.health.context import scene_here
from tasks.health.runner import checks_of, examine

_STYLES = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "bold red", State.SKIPPED: "dim"}


def tell_check_up(*, as_json: bool) -> int:
    """Look at everything and tell it; the exit status: 1 where a check failed."""
    checked = examine(checks_of(scene_here()))
    if as_json:
        say(json.dumps(_as_data(checked), indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _draw(checked)
    else:
        _list(checked)
    return int(_has_failed(checked))


# ----------------------------------------------------------------------------------------------------------------------


def _has_failed(checked: Sequence[Checked]) -> bool:
    return any(it.finding.state is State.FAILED for it in checked)


def _as_data(checked: Sequence[Checked]) -> dict[str, object]:
    checks = [
        {
            "name": it.name,
            "state": it.finding.state.value,
            "found": it.finding.found,
            "remedy": it.finding.remedy or None,
        }
        for it in checked
    ]
    return {"ok": not _has_failed(checked), "checks": checks}


def _list(checked: Sequence[Checked]) -> None:
    width = max(len(it.name) for it in checked)
    for it in checked:
        remedy = f" → {it.finding.remedy}" if it.finding.remedy else ""
        say(f"{it.finding.state.value:<7}  {it.name:<{width}}  {it.finding.found}{remedy}")
    say(_summary(checked))


def _draw(checked: Sequence[Checked]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, show_header=False)
    drawn.add_column(no_wrap=True)
    drawn.add_column(max_width=36)
    drawn.add_column()
    for it in checked:
        # As Text, what was found is never read as markup.
        told = Text(it.finding.found)
        if it.finding.remedy:
            told.append(f"\n→ {it.finding.remedy}", "bold")
        drawn.add_row(Text(it.finding.state.value, _STYLES[it.finding.state]), Text(it.name), told)
    console = Console()
    console.print(drawn)
    console.print(Text(_summary(checked)))


def _summary(checked: Sequence[Checked]) -> str:
    counts = Counter(it.finding.state for it in checked)
    return f"{len(checked)} checks: " + ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
