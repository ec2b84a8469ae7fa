"""On demand: decide on an optimization, proposed or under way, in the Prefect UI's form."""

from __future__ import annotations

import re
from enum import StrEnum

from prefect import flow

from flows.run_time import time_of_run
from models.attribution import Attribution
from models.context import load_context
from models.errors import UsageError
from tasks.optimizer.prefect_tasks import decide_on, update_decision_form


class Decision(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    HOLD = "hold"
    RESUME = "resume"
    JUMP = "jump"
    ABORT = "abort"


@flow(name="decide", flow_run_name="{decision} {optimization}")
def decide(optimization: str, decision: Decision, name: str, note: str = "", percent: float | None = None) -> str:
    """Approve or reject a proposed optimization, or decide on a rollout: approve its step, hold, resume, jump or abort.

    What is approved is applied or rolled out, and then monitored.

    Args:
        optimization: The optimization. The list contains the pending ones, then the rollouts under way.
        decision: Approve or reject a proposal. Of a rollout: approve the step that waits, hold, resume, jump or abort.
        name: Your name, for the record.
        note: Reason, for the record.
        percent: For a jump: the share of the requests that the candidate gets, above 0 and up to 100.
    """
    ctx, now = load_context(), time_of_run(None)
    number = re.match(r"#?(\d+)\b", optimization)
    if number is None:
        raise UsageError(f"{optimization!r} names no optimization: expected one such as #12")
    came_of_it = decide_on(ctx, int(number[1]), decision.value, Attribution(name, note, now), percent=percent)
    update_decision_form(ctx)
    return came_of_it
