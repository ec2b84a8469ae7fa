"""The environment of the tests and of the processes that they start: what every machine has, and nothing more."""

from __future__ import annotations

import os

KEPT = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "CI"})
"""Variables that say where a machine has its things."""
OWN = frozenset({
    "ROUTEWATCH_REGOLD", "ROUTEWATCH_FUZZ", "ROUTEWATCH_CHAOS", "ROUTEWATCH_KILLS", "ROUTEWATCH_EXAMPLES",
})  # fmt: skip
"""Variables that say how much is tested."""


def clean_environment(**more: str) -> dict[str, str]:
    """Return the variables for a process that a test starts: the few of a machine, and `more`."""
    return {name: value for name, value in os.environ.items() if name in KEPT} | more


def scrub_environment() -> None:
    """Remove every variable from this process that could make a test pass here and fail elsewhere.

    PYTHONUNBUFFERED once hid that a command buffered its output, PREFECT_API_URL would send runs elsewhere.
    """
    for name in os.environ.keys() - KEPT - OWN:
        if not name.startswith("PYTEST_"):
            del os.environ[name]
