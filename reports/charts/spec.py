"""What describes a chart: its title, how it is drawn, what it shows in words, and when there is anything to draw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from models.documents import DocumentHeader
from reports.text.formatting import Formats

D_contra = TypeVar("D_contra", bound=DocumentHeader, contravariant=True)


@dataclass(frozen=True)
class ChartSpec(Generic[D_contra]):
    """One chart of a template.

    `plan` makes it for a width in CSS px: a Vega-Lite specification, or an SVG as it stands. `alt_text` says in a
    sentence or two what it shows. Both are asked only where it `has_data`.
    """

    title: str
    plan: Callable[[D_contra, Formats, int], Any]
    alt_text: Callable[[D_contra, Formats], str]
    has_data: Callable[[D_contra], bool]
