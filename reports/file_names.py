"""How a report's files are named."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from models.documents import Document


def file_stem(document: Document, report_id: int | None = None) -> str:
    """Return a report's file name from its kind, template and period: nothing in it comes from data."""
    start = document.period.start.astimezone(ZoneInfo(document.period.zone))
    stamp = f"{start:%Y-%m-%dT%H%M}" if document.kind in ("hourly", "custom") else f"{start:%Y-%m-%d}"
    unique = f"-{report_id}" if report_id is not None and document.kind == "custom" else ""
    return f"routewatch-{document.kind}-{document.template}-{stamp}{unique}"
