"""Print the check results: a table on a terminal, one line per check in a pipe, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence

from deployments.console import say
from tasks.health.check import CheckState, CompletedCheck
from tasks.health.context import current_context
from tasks.health.runner import checks_of, run_checks

_STYLES = {
    CheckState.OK: "green",
    CheckState.WARNING: "yellow",
    CheckState.FAILED: "bold red",
    CheckState.SKIPPED: "dim",
}


def print_check_up(*, as_json: bool) -> int:
    """Run all checks and print the results; return the exit status, 1 if a check failed."""
    checked = run_checks(checks_of(current_context()))
    if as_json:
        say(json.dumps(_as_data(checked), indent=2, ensure_ascii=False))
    elif sys.stdout.isatty():
        _draw(checked)
    else:
        _list(checked)
    return int(_has_failed(checked))


# ----------------------------------------------------------------------------------------------------------------------


def _has_failed(checked: Sequence[CompletedCheck]) -> bool:
    return any(it.result.state is CheckState.FAILED for it in checked)


def _as_data(checked: Sequence[CompletedCheck]) -> dict[str, object]:
    checks = [
        {
            "name": it.name,
            "state": it.result.state.value,
            "found": it.result.found,
            "remedy": it.result.remedy or None,
        }
        for it in checked
    ]
    return {"ok": not _has_failed(checked), "checks": checks}


def _list(checked: Sequence[CompletedCheck]) -> None:
    width = max(len(it.name) for it in checked)
    for it in checked:
        remedy = f" → {it.result.remedy}" if it.result.remedy else ""
        say(f"{it.result.state.value:<7}  {it.name:<{width}}  {it.result.found}{remedy}")
    say(_summary(checked))


def _draw(checked: Sequence[CompletedCheck]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rendered = Table(box=None, pad_edge=False, show_header=False)
    rendered.add_column(no_wrap=True)
    rendered.add_column(max_width=36)
    rendered.add_column()
    for it in checked:
        # As Text, a result is never read as markup.
        result_text = Text(it.result.found)
        if it.result.remedy:
            result_text.append(f"\n→ {it.result.remedy}", "bold")
        rendered.add_row(Text(it.result.state.value, _STYLES[it.result.state]), Text(it.name), result_text)
    console = Console()
    console.print(rendered)
    console.print(Text(_summary(checked)))


def _summary(checked: Sequence[CompletedCheck]) -> str:
    counts = Counter(it.result.state for it in checked)
    return f"{len(checked)} checks: " + ", ".join(
        f"{counts[state]} {state.value}" for state in CheckState if counts[state]
    )
