"""Why spend changed, in words."""

from __future__ import annotations

from models.documents import SpendCause
from reports.text.findings import between
from reports.text.formatting import Formats
from reports.text.labels import COMPARED

_ALL_BUT_ALONE = 0.8
"""Minimum part of a change for a cause to be reported as its cause, not as most of it."""


def because(cause: SpendCause) -> str:
    """The cause as the end of a sentence: "because atlas-large took over complex requests from atlas-medium"."""
    return f"{'because' if cause.share >= _ALL_BUT_ALONE else 'mostly because'} {_clause(cause)}"


def cause_text(cause: SpendCause, show: Formats) -> str:
    """How much of the change it is, and how sure."""
    part = f"{show.signed_money(cause.change_usd.estimate)}{between(cause.change_usd, 'signed_money', show)}"
    of = f"{show.percent(cause.share)} of it" if cause.share <= 1 else "more than all of it, which others made up for"
    return (
        f"Why spend changed against {COMPARED[cause.compared_with]}: {_clause(cause)}. That is {part}, {of}. "
        "The change was parted into numbers of requests, routing, cache and cost per request."
    )


# ----------------------------------------------------------------------------------------------------------------------


def _clause(cause: SpendCause) -> str:
    more = cause.change_usd.estimate > 0
    requests = f"{cause.complexity} requests" if cause.complexity else "requests"
    match cause.kind:
        case "volume":
            by = f", above all by team {cause.team}" if cause.team else ""
            return f"{'more' if more else 'fewer'} {requests} were made{by}"
        case "routing":
            source = f" from {cause.from_model}" if cause.from_model else ""
            return f"{cause.model_id or 'another model'} took over {requests}{source}"
        case "cache":
            return f"the cache answered {'fewer' if more else 'more'} of the {requests}"
        case "price":
            to = f" to {cause.model_id}" if cause.model_id else ""
            return f"{requests}{to} cost {'more' if more else 'less'} each"
