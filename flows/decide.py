"""On demand: decide on a proposed optimization in the Prefect UI's form."""

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


@flow(name="decide", flow_run_name="{decision} {optimization}")
def decide(optimization: str, decision: Decision, name: str, note: str = "") -> str:
    """Approve or reject a proposed optimization. An approved one is applied and then monitored.

    Args:
        optimization: The optimization. The list contains all pending ones.
        decision: Approve or reject.
        name: Your name, for the record.
        note: Reason, for the record.
    """
    ctx, now = load_context(), time_of_run(None)
    number = re.match(r"#?(\d+)\b", optimization)
    if number is None:
        raise UsageError(f"{optimization!r} names no optimization: expected one such as #12")
    came_of_it = decide_on(ctx, int(number[1]), Attribution(name, note, now), approved=decision is Decision.APPROVE)
    update_decision_form(ctx)
    return came_of_it
