"""What a Python router imports: `from routewatch import RouterLog`."""

from __future__ import annotations

from tasks.record import RouterLog

__all__ = ["RouterLog"]
