"""A specimen: one line on paper, drawn with the fonts and libraries that draw reports."""

from __future__ import annotations

from dataclasses import dataclass

import weasyprint
from weasyprint import HTML
from weasyprint.text.ffi import harfbuzz_subset, pango

from reports.assets.fonts import FAMILY, print_faces
from reports.renderers.pdf_fonts import OwnFontsOnly

LINE = "Routewatch can draw: 0123456789 − ≤ × ▲"


@dataclass(frozen=True)
class Specimen:
    """The file, and who drew it. Without `subsets` fonts travel whole, which makes files large."""

    pdf: bytes
    weasyprint_version: str
    pango_version: str
    subsets: bool


def draw_specimen() -> Specimen:
    """A page with one line in the house's font."""
    page = f'<style>{print_faces()}</style><p style="font-family: {FAMILY}">{LINE}'
    pdf: bytes = HTML(string=page, url_fetcher=OwnFontsOnly()).write_pdf()
    number = pango.pango_version()
    version = f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
    return Specimen(pdf, weasyprint.__version__, version, harfbuzz_subset is not None)
