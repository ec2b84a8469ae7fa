"""Report templates in the order of the form; models.documents has a document for each."""

from __future__ import annotations

from enum import StrEnum


class Template(StrEnum):
    PERFORMANCE = "performance"
    COST = "cost"
    USAGE = "usage"
    OPTIMIZATION = "optimization"
