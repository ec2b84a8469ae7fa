"""The package that a Python router imports: `from routewatch import RouterLog`."""

from __future__ import annotations

from routewatch.client import Counts, RouterLog

__all__ = ["Counts", "RouterLog"]
