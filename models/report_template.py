"""What a report can be about, in the order in which it is offered; models.documents has a document for each."""

from __future__ import annotations

from enum import StrEnum


class Template(StrEnum):
    PERFORMANCE = "performance"
    COST = "cost"
    USAGE = "usage"
    OPTIMIZATION = "optimization"
