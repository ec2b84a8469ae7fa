"""How a recommendation is ranked, and how somebody decides on it."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from models.documents import Recommendation
from reports.text.formatting import Formats
from reports.text.verdicts import number_of

_SAFE_IN_ADDRESS = ":/?#[]@!&*+,;=%~-._"
"""What an address may hold as it is. Brackets of Markdown, quotes and what may start a sum of money are none of it."""


_GAIN_OF = {
    "cache_optimization": "of the requests",
    "cache_strategy": "of the requests",
    "model_selection": "of the spend",
}
"""Of what a recommendation's worth is a share."""


_SURE = 0.999


def link_to(address: str | None) -> str:
    """An address that may be clicked on in a mail or page: https or http alone, no markup in it; else empty."""
    if not address:
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return quote(address, safe=_SAFE_IN_ADDRESS) if parts.scheme in ("http", "https") and parts.netloc else ""


def decide_text(item: Recommendation) -> str:
    """Return the link to decide with, or without an address the command; empty if there is nothing to decide."""
    number = number_of(item.optimization_id)
    if link_to(item.decide_url):
        return f"Decide on {number}" if number else "Decide"
    if item.status == "waiting" and item.optimization_id is not None:
        return f"To decide: routewatch optimizations approve {item.optimization_id}, or reject {item.optimization_id}"
    return ""


def score_text(item: Recommendation, show: Formats) -> str:
    """The score by which recommendations are ranked, with what it is made of; empty where there is none."""
    if item.score is None or item.expected_gain is None or item.confidence is None:
        return ""
    # However much was counted, nothing that rests on a sample is wholly sure.
    sure = show.percent(item.confidence) if item.confidence < _SURE else f"over {show.percent(_SURE)}"
    return (
        f"score {show.number(item.score, 3)}: worth {show.percent(item.expected_gain)} {_GAIN_OF[item.type]}, "
        f"{sure} sure {_sure_of(item)}, {item.effort} effort"
    )


def _sure_of(item: Recommendation) -> str:
    """Of what the confidence is: chance is all that it knows."""
    if item.type != "model_selection":
        return "that the limit is missed"
    return "as far as chance goes" if item.observational else "of it"
