"""Templates, and how they are filled: every text escaped, every missing name an error."""

from __future__ import annotations

import base64
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from models.text_direction import kept_to_itself

_SIGN_OF_MONEY = re.compile(r"([+−])(?=\$)")

TEMPLATES = Path(__file__).parents[1] / "templates"


@cache
def make_environment() -> ImmutableSandboxedEnvironment:
    """Jinja's, in which a template reaches its values and nothing else."""
    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_kept_together,
    )
    # For what is no part of a document, whose names are kept to themselves all at once.
    environment.filters["isolated"] = kept_to_itself
    return environment


def fill(template: str, **values: Any) -> str:
    """A template's text with its values; it ends with a newline. Raises UndefinedError for a name that is missing."""
    return make_environment().get_template(template).render(values).rstrip() + "\n"


@cache
def style(*names: str) -> str:
    """Style sheets from the templates' folder, one after the other."""
    return "\n".join((TEMPLATES / name).read_text(encoding="utf-8") for name in names)


def _kept_together(value: Any) -> Any:
    """A text in which no line ends between a sign and the currency after it."""
    return _SIGN_OF_MONEY.sub("\\1\u2060", value) if type(value) is str else value


def svg_url(svg: str) -> str:
    """An SVG as a data: address."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
