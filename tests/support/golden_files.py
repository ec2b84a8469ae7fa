"""Golden files: a component's output, stored for comparison."""

from __future__ import annotations

import os

from tests.support.paths import GOLDEN


def compared(name: str, text: str) -> None:
    """Compare with a file below tests/golden; ROUTEWATCH_REGOLD=1 rewrites it."""
    path = GOLDEN / name
    if os.environ.get("ROUTEWATCH_REGOLD"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
