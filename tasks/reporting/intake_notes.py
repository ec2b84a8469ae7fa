"""Notes on rows that a report does not count and on fields that are not readable, and on the error rate with them."""

from __future__ import annotations

from models.documents import Filters, IntakePart
from tasks.rollups.totals import Totals

MANY_FIELDS = 0.01
"""Share of the selections from which on unreadable fields are worth a note."""


def intake_notes(intake: IntakePart, measured: Totals, filters: Filters) -> list[str]:
    """Return the notes, of which there are none if every row was accepted with all of its fields."""
    notes = []
    if intake.not_counted:
        counts = {"rejected": intake.rejected, "set aside": intake.set_aside}
        parts = " and ".join(f"{count:,} {outcome}" for outcome, count in counts.items() if count)
        are = "row of this period is" if intake.not_counted == 1 else "rows of this period are"
        why = _most_often(intake, are_counted=False)
        text = f"{intake.not_counted:,} {are} in no number of this report ({parts}{why})."
        notes.append(f"{text} {_on_errors(intake, measured, filters)}")
    if intake.unreadable_error_flags:
        notes.append(_on_flags(intake.unreadable_error_flags, measured, filters))
    others = intake.unknown_fields - intake.unreadable_error_flags
    if others and others >= MANY_FIELDS * measured.count:
        why = _most_often(intake, are_counted=True)
        notes.append(f"Fields that could not be read and are unknown: {others:,}{why}. Their calls are counted.")
    return notes


# ----------------------------------------------------------------------------------------------------------------------


def _most_often(intake: IntakePart, *, are_counted: bool) -> str:
    reasons = (it.reason for it in intake.reasons if (it.outcome == "unknownField") is are_counted)
    reason = next(reasons, None)
    return "" if reason is None else f"; most often: {reason}"


def _on_errors(intake: IntakePart, measured: Totals, filters: Filters) -> str:
    """Say how many failed calls are not counted, and what the error rate is with them where that is another one."""
    errors = intake.errors_not_counted
    if not errors:
        return "None of them is known to be a failed call."
    known = f"Known to be failed calls: {errors:,} of them"
    if measured.error_rate is None:
        return f"{known}."
    if filters.leaves_out:
        return f"{known}, of any model and team: the error rate of this report may be too low."
    return f"{known}; {_rates(measured, errors, intake.not_counted, 'with all of them the error rate is at least')}."


def _on_flags(count: int, measured: Totals, filters: Filters) -> str:
    text = f"Calls that do not say readably whether they failed: {count:,}. Without an error type they count as good"
    if measured.error_rate is None:
        return f"{text}."
    if filters.leaves_out:
        return f"{text}: the error rate of this report may be too low."
    return f"{text}; {_rates(measured, count, 0, 'had all of them failed, the error rate would be')}."


def _rates(measured: Totals, errors: int, rows: int, says: str) -> str:
    """Compare the error rate with that of so many more failed calls, among so many more rows."""
    counted = measured.known("error_count")
    rate, other = counted / measured.count, min(1.0, (counted + errors) / (measured.count + rows))
    if f"{rate:.1%}" == f"{other:.1%}":
        return f"the error rate stays {rate:.1%}"
    return f"{says} {other:.1%}, not {rate:.1%}"
