"""Report request from a schedule, a form or a command."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from models.documents import Filters
from models.file_format import FileFormat, in_order
from models.period import Level, Period, last_complete
from models.report_template import Template
from models.settings import Schedule, Settings

Kind = Literal["hourly", "daily", "weekly", "custom"]


@dataclass(frozen=True)
class Request:
    """Content and form of a report."""

    kind: Kind
    template: Template
    period: Period
    depth: Literal["summary", "detailed"] = "summary"
    metrics: tuple[str, ...] = ("all",)
    filters: Filters = field(default_factory=Filters)
    formats: tuple[FileFormat, ...] = tuple(FileFormat)

    def parameters(self, settings: Settings) -> dict[str, Any]:
        """Parameters that, beside kind and period, distinguish reports."""
        return {
            "template": self.template,
            "depth": self.depth,
            "metrics": list(self.metrics),
            "models": sorted(self.filters.models),
            "teams": sorted(self.filters.teams),
            **({"complexities": sorted(self.filters.complexities)} if self.filters.complexities else {}),
            **({"formats": list(self.formats)} if self.formats != tuple(FileFormat) else {}),
            "timezone": settings.timezone,
            "locale": settings.reporting.locale,
            "paper": settings.reporting.paper,
        }


_LEVELS: dict[Kind, Level] = {"hourly": Level.HOUR, "daily": Level.DAY, "weekly": Level.WEEK}


def scheduled(
    kind: Literal["hourly", "daily", "weekly"], settings: Settings, now: datetime
) -> tuple[Request, tuple[str, ...]]:
    """Return the request of a schedule's report at `now`, for its last complete period, and the recipient names."""
    schedule: Schedule = getattr(settings.reporting.schedules, kind)
    period = last_complete(_LEVELS[kind], now, settings.timezone)
    return Request(kind, Template.PERFORMANCE, period, schedule.format, schedule.metrics), schedule.recipients


def default_formats(settings: Settings) -> tuple[FileFormat, ...]:
    """Default formats of a custom report: html, and the settings' export formats."""
    return in_order((FileFormat.HTML, *settings.reporting.custom_reports.export_formats))
