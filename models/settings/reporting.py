"""Which reports there are, for whom, and how they look; the budget that they compare with."""

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
    """Run it by the timetable."""
    recipients: tuple[str, ...] = ()
    """Who gets it: names of `delivery.recipients`, and `console` and `dashboard`, which are built in."""
    metrics: tuple[ReportPart, ...] = ("all",)
    """What the report shows."""
    format: Literal["summary", "detailed"] = "summary"
    """A page or two, or everything."""


class Schedules(SettingsBlock):
    hourly: Schedule = Schedule(recipients=("dashboard",), metrics=("responseTime", "errorRate", "cost"))
    """The last whole hour, five minutes after it."""
    daily: Schedule = Schedule(recipients=("email", "webhook"))
    """The last whole day, at 06:15 in the `timezone`."""
    weekly: Schedule = Schedule(recipients=("management",), metrics=("trends", "optimization"), format="detailed")
    """The last whole week, on Mondays at 06:30 in the `timezone`."""


class CustomReports(SettingsBlock):
    enabled: bool = True
    """Offer the form in Prefect's UI."""
    templates: tuple[Template, ...] = tuple(Template)
    """Which reports the form offers."""
    export_formats: tuple[Literal["json", "csv", "pdf"], ...] = ("json", "csv", "pdf")
    """Which files are made, beside the page, where whoever asks does not choose."""


class Reporting(SettingsBlock):
    schedules: Schedules = Schedules()
    """The reports of the timetable."""
    custom_reports: CustomReports = CustomReports()
    """Reports about any period, when somebody asks."""
    locale: str = "en_US"
    """How numbers and dates are written, such as `en_US` or `de_DE`. The words are English."""
    paper: Literal["A4", "Letter"] = "A4"
    """The size of a PDF's pages."""

    @field_validator("locale")
    @classmethod
    def _known_locale(cls, name: str) -> str:
        from babel import Locale, UnknownLocaleError  # noqa: PLC0415 - only where one is named

        try:
            Locale.parse(name.replace("-", "_"))
        except (UnknownLocaleError, ValueError):
            raise ValueError(f"{name!r} is no locale such as en_US or de_DE") from None
        return name.replace("-", "_")


class Budget(SettingsBlock):
    monthly_usd: Annotated[float, Field(gt=0)] | None = None
    """What a calendar month may cost, in USD. Without it there is no budget, and no alert on one."""
