"""What a Python router imports: `from routewatch import RouterLog`."""

from __future__ import annotations

from tasks.ingestion.router_log import RouterLog

__all__ = ["RouterLog"]
