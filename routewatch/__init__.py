"""The package that a Python router imports: `from routewatch import RouterLog`."""

from __future__ import annotations

from routewatch.client import Counts, RouterLog
from routewatch.rollout import Assignment

__all__ = ["Assignment", "Counts", "RouterLog"]
