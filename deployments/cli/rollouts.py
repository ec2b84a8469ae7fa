"""Commands for rollouts: a random share of the requests tries a model, in rising steps."""

from __future__ import annotations

from typing import Annotated

import typer

from deployments.cli.optimizations import Id, Name, Note, attribution_of, say_steps, say_verdict, stamp
from deployments.console import say, table

rollouts = typer.Typer(help="Models that a share of the requests tries.", no_args_is_help=True)


@rollouts.command("list")
def list_() -> None:
    """Show the rollouts, newest first."""
    from models.context import load_context
    from tasks.optimizer.rollout_queries import list_rollouts

    rows = [
        (
            it.label,
            it.state,
            f"{it.percent:g} %" if it.is_under_way else "-",
            stamp(it.started_at),
            stamp(it.deadline) if it.ended_at is None else stamp(it.ended_at),
            it.reason,
        )
        for it in list_rollouts(load_context().engine)
    ]
    table(("rollout", "state", "share", "started", "ends", "why"), rows, "no rollouts yet")


@rollouts.command()
def show(optimization_id: Id) -> None:
    """Show the steps of one rollout, and what its arms show."""
    from models.context import load_context
    from tasks.optimizer.rollout_queries import get_rollout

    it = get_rollout(load_context().engine, optimization_id)
    say(it.label)
    say_steps(it.steps)
    if it.is_under_way:
        say(f"{it.state} at {it.percent:g} % until {stamp(it.deadline)}: {it.reason}")
        if it.proposed_percent is not None:
            say(f"{it.proposed_percent:g} % wait for approval: `routewatch rollouts approve-step {optimization_id}`")
    if it.verdict:
        say_verdict(it.verdict)


@rollouts.command()
def approve_step(optimization_id: Id, by: Name = None, note: Note = "") -> None:
    """Take the step that waits for approval."""
    from models.context import load_context
    from tasks.optimizer.rollout_decisions import approve_step as approve_it

    ctx = load_context()
    say(approve_it(ctx.engine, optimization_id, ctx.settings, attribution_of(by, note)))


@rollouts.command()
def hold(optimization_id: Id, by: Name = None, note: Note = "") -> None:
    """Keep a rollout at its share until it is resumed. Harm and its deadline still take it back."""
    from models.context import load_context
    from tasks.optimizer.rollout_decisions import hold as hold_it

    say(hold_it(load_context().engine, optimization_id, attribution_of(by, note)))


@rollouts.command()
def resume(optimization_id: Id, by: Name = None, note: Note = "") -> None:
    """Let a held rollout go on."""
    from models.context import load_context
    from tasks.optimizer.rollout_decisions import resume as resume_it

    say(resume_it(load_context().engine, optimization_id, attribution_of(by, note)))


@rollouts.command()
def jump(
    optimization_id: Id,
    percent: Annotated[float, typer.Argument(metavar="PERCENT", help="Above 0 and up to 100.")],
    by: Name = None,
    note: Note = "",
) -> None:
    """Give the candidate any share, whatever the numbers say; with 100 it becomes the model of its class."""
    from models.context import load_context
    from tasks.optimizer.rollout_decisions import jump as jump_to

    ctx = load_context()
    say(jump_to(ctx.engine, optimization_id, percent, ctx.settings, attribution_of(by, note)))


@rollouts.command()
def abort(optimization_id: Id, by: Name = None, note: Note = "") -> None:
    """End a rollout; all requests go to the old model again."""
    from models.context import load_context
    from tasks.optimizer.rollout_decisions import abort as abort_it

    say(abort_it(load_context().engine, optimization_id, attribution_of(by, note)))
