"""Reports: schedule, recipients and format; and the budget that they compare with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, field_validator

from models.kpis import KpiName
from models.report_template import Template
from models.settings.block import SettingsBlock

if TYPE_CHECKING:
    ReportPart = str
else:
    ReportPart = Literal[("all", *(name.value for name in KpiName), "cost", "trends", "optimization")]


class Schedule(SettingsBlock):
    enabled: bool = True
    """Run it on schedule."""
    recipients: tuple[str, ...] = ()
    """Recipients: names of `delivery.recipients`, and the built-in `console` and `dashboard`."""
    metrics: tuple[ReportPart, ...] = ("all",)
    """The report's template."""
    format: Literal["summary", "detailed"] = "summary"
    """Short (one or two pages) or full."""


class Schedules(SettingsBlock):
    hourly: Schedule = Schedule(recipients=("dashboard",), metrics=("responseTime", "errorRate", "cost"))
    """The last whole hour, sent five minutes after it."""
    daily: Schedule = Schedule(recipients=("email", "webhook"))
    """The last whole day, sent at 06:15 in the `timezone`."""
    weekly: Schedule = Schedule(recipients=("management",), metrics=("trends", "optimization"), format="detailed")
    """The last whole week, sent on Mondays at 06:30 in the `timezone`."""


class CustomReports(SettingsBlock):
    enabled: bool = True
    """Show the report form in Prefect's UI."""
    templates: tuple[Template, ...] = tuple(Template)
    """Report templates in the form."""
    export_formats: tuple[Literal["json", "csv", "pdf"], ...] = ("json", "csv", "pdf")
    """Default file formats, in addition to the page."""


class Reporting(SettingsBlock):
    schedules: Schedules = Schedules()
    """Scheduled reports."""
    custom_reports: CustomReports = CustomReports()
    """Custom reports over any period, on request."""
    locale: str = "en_US"
    """Locale of numbers and dates, such as `en_US` or `de_DE`. The text is English."""
    paper: Literal["A4", "Letter"] = "A4"
    """Page size of PDFs."""

    @field_validator("locale")
    @classmethod
    def _known_locale(cls, name: str) -> str:
        from babel import Locale, UnknownLocaleError  # noqa: PLC0415 - only if one is named

        try:
            Locale.parse(name.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            raise ValueError(f"{name!r} is not a locale such as en_US or de_DE") from None
        return name.replace("-", "_")


class Budget(SettingsBlock):
    monthly_usd: Annotated[float, Field(gt=0)] | None = None
    """Budget of a calendar month, in USD. Without it there is no budget and no budget alert."""
