"""Read what the gate did to the rows of a period: how many were rejected, set aside, or not wholly readable."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from sqlalchemy import Connection, func, select

from models.documents import IntakePart, IntakeReason
from models.period import Level, Period, floor_to
from routewatch.quarantine import INTAKE_COUNT, IntakeOutcome

MOST_REASONS = 10

_NOT_COUNTED = (IntakeOutcome.REJECTED, IntakeOutcome.SET_ASIDE)
_ERROR_FLAG = "error "
"""How the reason of an unreadable error flag begins: with the field's name."""


def read_intake(connection: Connection, period: Period) -> IntakePart:
    """Read the counts of the hours that a period touches. Rows that returned from the quarantine are not among them."""
    rows, errors = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for outcome, reason, count, failed in _read(connection, floor_to(Level.HOUR, period.start, "UTC"), period.end):
        sign = -1 if outcome == IntakeOutcome.RESTORED else 1
        key = (IntakeOutcome.SET_ASIDE.value if sign < 0 else outcome, reason)
        rows[key] += sign * count
        errors[key] += sign * failed

    def total(counts: Counter[tuple[str, str]], outcome: IntakeOutcome, reason: str = "") -> int:
        return max(0, sum(n for (of, why), n in counts.items() if of == outcome and why.startswith(reason)))

    return IntakePart(
        rejected=total(rows, IntakeOutcome.REJECTED),
        rejected_errors=total(errors, IntakeOutcome.REJECTED),
        set_aside=total(rows, IntakeOutcome.SET_ASIDE),
        set_aside_errors=total(errors, IntakeOutcome.SET_ASIDE),
        unknown_fields=total(rows, IntakeOutcome.UNKNOWN_FIELD),
        # By its error type, a call is known to have failed whatever its flag says.
        unreadable_error_flags=total(rows - errors, IntakeOutcome.UNKNOWN_FIELD, _ERROR_FLAG),
        reasons=_reasons(rows, errors),
    )


# ----------------------------------------------------------------------------------------------------------------------


def _read(connection: Connection, start: datetime, end: datetime) -> list[tuple[str, str, int, int]]:
    counts = INTAKE_COUNT.c
    shown = (*_NOT_COUNTED, IntakeOutcome.UNKNOWN_FIELD, IntakeOutcome.RESTORED)
    sums = (func.sum(counts.rows).label("rows"), func.sum(counts.errors).label("errors"))
    query = (
        select(counts.outcome, counts.reason, *sums)
        .where(counts.hour >= start, counts.hour < end, counts.outcome.in_([it.value for it in shown]))
        .group_by(counts.outcome, counts.reason)
    )
    return [(of, why, int(rows), int(errors)) for of, why, rows, errors in connection.execute(query)]


def _reasons(rows: Counter[tuple[str, str]], errors: Counter[tuple[str, str]]) -> tuple[IntakeReason, ...]:
    """Return the most frequent reasons, first those of rows that are not counted."""
    found = [
        IntakeReason(outcome=outcome, reason=reason, rows=count, errors=max(0, errors[outcome, reason]))
        for (outcome, reason), count in rows.items()
        if count > 0
    ]
    found.sort(key=lambda it: (it.outcome == "unknownField", -it.rows, it.reason))
    return tuple(found[:MOST_REASONS])
