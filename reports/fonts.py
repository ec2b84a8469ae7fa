"""The one font of every report, from its package: the same look on every machine, and nothing fetched."""

from __future__ import annotations

import base64
from functools import cache
from importlib.resources import files
from io import BytesIO
from pathlib import Path

import vl_convert
from fontTools.subset import Options, Subsetter  # type: ignore[import-untyped]
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]

FAMILY = "Source Sans Pro"
DIRECTORY = Path(str(files("font_source_sans_pro") / "files"))
_FACES = {400: "SourceSansPro-Regular.ttf", 600: "SourceSansPro-Semibold.ttf", 700: "SourceSansPro-Bold.ttf"}
_WEB_WEIGHTS = (400, 600)
_WEB_RANGES = ((0x20, 0x17F), (0x2010, 0x2044), (0x20A0, 0x20BF), (0x2190, 0x2195))
_WEB_SIGNS = "−±≤≥≈×▲▼◆■✓"


@cache
def print_faces() -> str:
    """CSS font faces with the whole fonts; a PDF takes from them only the glyphs that it shows."""
    return "\n".join(_face(weight, (DIRECTORY / name).read_bytes(), "truetype") for weight, name in _FACES.items())


@cache
def web_faces() -> str:
    """CSS font faces of two weights with Latin letters, small enough to travel in a page."""
    return "\n".join(_face(weight, _subset(DIRECTORY / _FACES[weight]), "woff2") for weight in _WEB_WEIGHTS)


@cache
def register_for_charts() -> None:
    """Make the font known to the chart renderer, once in a process."""
    vl_convert.register_font_directory(str(DIRECTORY))


def _face(weight: int, font: bytes, kind: str) -> str:
    data = base64.b64encode(font).decode()
    return (
        f'@font-face {{ font-family: "{FAMILY}"; font-weight: {weight}; font-style: normal; '
        f'src: url("data:font/{kind};base64,{data}") format("{kind}"); }}'
    )


def _subset(path: Path) -> bytes:
    font = TTFont(path, recalcTimestamp=False)
    subsetter = Subsetter(Options(layout_features=["kern", "tnum"], hinting=False))
    letters = {code for low, high in _WEB_RANGES for code in range(low, high + 1)} | set(map(ord, _WEB_SIGNS))
    subsetter.populate(unicodes=letters)
    subsetter.subset(font)
    font.flavor = "woff2"
    out = BytesIO()
    font.save(out)
    return out.getvalue()
