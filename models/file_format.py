"""File formats of reports."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class FileFormat(StrEnum):
    """In the order in which they are listed."""

    HTML = "html"
    PDF = "pdf"
    CSV = "csv"
    JSON = "json"


def in_order(formats: Iterable[str]) -> tuple[FileFormat, ...]:
    """Each format once, in the order in which they are listed."""
    chosen = set(formats)
    return tuple(form for form in FileFormat if form in chosen)
