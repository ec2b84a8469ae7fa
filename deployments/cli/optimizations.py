"""Commands for optimizations: list proposals, changes and results, and decide on them."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.console import say, table
from models.ids import LARGEST_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from models.attribution import Attribution

optimizations = typer.Typer(help="Proposed and applied config changes.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(metavar="ID", min=1, max=LARGEST_ID)]
Name = Annotated[str | None, typer.Option("--by", help="Your name, for the record. Default: your login name.")]
Note = Annotated[str, typer.Option(help="Reason, for the record.")]


@optimizations.command("list")
def list_() -> None:
    """Show the optimizations, newest first."""
    from models.context import load_context
    from tasks.optimizer.queries import label, list_optimizations

    rows = [
        (label(row), row.state, stamp(row.updated_at), row.verdict["reason"] if row.verdict else "")
        for row in list_optimizations(load_context().engine)
    ]
    table(("optimization", "state", "since", "verdict"), rows, "no proposals yet")


@optimizations.command()
def show(optimization_id: Id) -> None:
    """Show the history of one optimization."""
    from models.context import load_context
    from tasks.optimizer.queries import history_of, label
    from tasks.optimizer.trial_rows import trial_steps_of

    engine = load_context().engine
    row, steps = history_of(engine, optimization_id)
    say(label(row))
    table(
        ("when", "became", "by", "why"),
        [(stamp(it.at), it.to_state, it.by, it.reason) for it in steps],
        "no steps yet",
    )
    if trial_steps := trial_steps_of(engine, optimization_id):
        say_steps(trial_steps)
    if row.verdict:
        say_verdict(row.verdict)


@optimizations.command()
def approve(optimization_id: Id, by: Name = None, note: Note = "") -> None:
    """Approve a proposal. It is applied, monitored, and reverted automatically if it makes things worse."""
    from models.context import load_context
    from tasks.optimizer.decisions import approve as approve_it

    ctx = load_context()
    say(approve_it(ctx.engine, optimization_id, ctx.settings, attribution_of(by, note)))


@optimizations.command()
def reject(optimization_id: Id, by: Name = None, note: Note = "") -> None:
    """Reject a proposal. The same change is not proposed again for 30 days."""
    from models.context import load_context
    from tasks.optimizer.decisions import reject as reject_it

    say(reject_it(load_context().engine, optimization_id, attribution_of(by, note)))


@optimizations.command()
def revert(optimization_id: Id, by: Name = None, note: Note = "") -> None:
    """Revert an applied optimization; its keys get their previous values."""
    from models.context import load_context
    from tasks.optimizer.decisions import revert as revert_it

    say(revert_it(load_context().engine, optimization_id, attribution_of(by, note)))


@optimizations.command()
def stop(by: Name = None, note: Note = "") -> None:
    """Kill switch: stop applying and reverting changes, immediately and in every process."""
    from models.context import load_context
    from tasks.optimizer.decisions import stop as stop_all

    say(stop_all(load_context().engine, attribution_of(by, note)))


@optimizations.command()
def resume(by: Name = None, note: Note = "") -> None:
    """Undo `stop`."""
    from models.context import load_context
    from tasks.optimizer.decisions import resume as resume_all

    say(resume_all(load_context().engine, attribution_of(by, note)))


@optimizations.command()
def preview() -> None:
    """Dry run: show what the next daily run would change and why it would skip the rest. Changes nothing."""
    from models.context import load_context
    from tasks.optimizer.apply import DecisionContext, apply
    from tasks.reporting.collect import collect_material
    from tasks.reporting.request import scheduled

    ctx, now = load_context(), datetime.now(UTC)
    request, _ = scheduled("daily", ctx.settings, now)
    material = collect_material(ctx.engine, request, ctx.settings, now)
    evidence = DecisionContext(material.current.period, material.current.last_selection_at, now)
    rows = [
        (
            item.type,
            ", ".join(f"{move.key}: {move.from_value} → {move.to_value}" for move in item.moves) or "-",
            "would be applied" if item.status == "applied" else item.status,
            item.note or "",
        )
        for item in apply(ctx.engine, material.recommendations, ctx.settings, evidence, dry_run=True)
    ]
    table(("type", "change", "outcome", "why"), rows, "no recommendations")


def attribution_of(by: str | None, note: str) -> Attribution:
    """Return who decides, by name or login name, and when."""
    from models.attribution import Attribution

    return Attribution(by or getpass.getuser(), note, datetime.now(UTC))


def say_verdict(verdict: dict[str, Any]) -> None:
    """Print a stored verdict."""
    rows = [
        (
            "goal" if number == 0 else "guard",
            change["metric"],
            _number(change["before"]),
            _number(change["after"]),
            _bounds(change["change"]),
            change["judgement"],
        )
        for number, change in enumerate(_changes(verdict))
    ]
    if verdict.get("method") == "split":
        say(f"verdict over {verdict['hours']} hours of both arms: {verdict['reason']}")
        headings = "", "metric", "baseline", "candidate", "difference (bounds that hold at every look)", "assessment"
    else:
        say(
            f"verdict over {verdict['hours']} matched hours ({verdict['matchedBy'] or 'no match'}): {verdict['reason']}"
        )
        headings = "", "metric", "before", "after", "change (95% interval)", "assessment"
    table(headings, rows, "no comparison")
    missing = [f"{it['metric']}: about {it['missingSample']:,}" for it in _changes(verdict) if it.get("missingSample")]
    if missing:
        say(f"known values that are still needed: {', '.join(missing)}")
    if verdict["savingsUsd"]:
        say(f"savings in the observed hours: {_number(verdict['savingsUsd']['estimate'])} USD, "
            f"{_bounds(verdict['savingsUsd'])}")  # fmt: skip


def say_steps(steps: Sequence[Any]) -> None:
    """Print the steps of a trial, oldest first: rows of models.schema.TRIAL_STEP."""
    rows = [(stamp(it.at), it.action, _share(it.percent), it.by, it.reason) for it in steps]
    table(("when", "step", "candidate's share", "by", "why"), rows, "no steps yet")


def stamp(instant: datetime) -> str:
    """Return an instant to the minute."""
    return instant.isoformat(sep=" ", timespec="minutes")


# ----------------------------------------------------------------------------------------------------------------------


def _changes(verdict: dict[str, Any]) -> list[dict[str, Any]]:
    return [change for change in (verdict["goal"], *verdict["guards"]) if change]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.5g}"


def _bounds(interval: dict[str, float | None] | None) -> str:
    if interval is None:
        return "unknown"
    return f"{_number(interval['estimate'])} ({_number(interval['low'])} to {_number(interval['high'])})"


def _share(percent: float | None) -> str:
    return "-" if percent is None else f"{percent:g} %"
