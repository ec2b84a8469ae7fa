"""What every template's document has: the header's fields, and its headline numbers wherever it keeps them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Literal

from models.base import ApiModel
from models.documents.bottlenecks import Bottleneck
from models.documents.changes import AppliedOptimization
from models.documents.common import (
    SCHEMA_VERSION,
    Charts,
    CoverageByColumn,
    Filters,
    Freshness,
    Kpi,
    PeriodPart,
    Trend,
)
from models.file_format import FileFormat
from models.kpis import Direction


class DocumentHeader(ApiModel, ABC):
    """The fields of every document, and what each template keeps somewhere of its own, under one name."""

    schema_version: str = SCHEMA_VERSION
    kind: Literal["hourly", "daily", "weekly", "custom"]
    depth: Literal["summary", "detailed"]
    metrics: tuple[str, ...] = ("all",)
    formats: tuple[FileFormat, ...] = tuple(FileFormat)
    """What it is written as. Mails of a custom report bear these files, others the PDF."""
    generated_at: datetime
    locale: str = "en_US"
    paper: Literal["A4", "Letter"] = "A4"
    period: PeriodPart
    filters: Filters
    coverage: CoverageByColumn
    freshness: Freshness
    notes: tuple[str, ...] = ()
    """What a reader must know before believing the numbers: roundings, missing columns, folded teams."""
    kpis: tuple[Kpi, ...]
    charts: Charts

    @property
    @abstractmethod
    def headline_numbers(self) -> ApiModel:
        """The summary, of the template's own kind."""

    @property
    @abstractmethod
    def selection_count(self) -> int:
        """How many selections the report is over."""

    @property
    @abstractmethod
    def spent_usd(self) -> float | None:
        """What they cost in USD, as far as it is known."""

    @property
    def trends(self) -> tuple[Trend, ...]:
        """Every trend of the report."""
        return ()

    @property
    def found_bottlenecks(self) -> tuple[Bottleneck, ...]:
        """The bottlenecks that the report tells of."""
        return ()

    @property
    def config_changes(self) -> tuple[AppliedOptimization, ...]:
        """The changes of the router's config by optimizations, by time."""
        return ()

    def trend_of(self, metrics: tuple[str, ...]) -> Trend | None:
        """The change of a metric, by any of its names, against the period that says most.

        That is the period before; of one shorter than a week the same of the week before, where that is known, for
        every Monday differs from its Sunday.
        """
        return leading_trend(self.trends, metrics, self.period)


def leading_trend(trends: tuple[Trend, ...], metrics: tuple[str, ...], period: PeriodPart) -> Trend | None:
    """Of the trends of a metric, by any of its names, the one that DocumentHeader.trend_of tells."""
    found = trends_by_comparison(trends, metrics)
    last_week = found.get("samePeriodLastWeek")
    is_short = period.end - period.start < timedelta(days=6)
    is_known = last_week is not None and last_week.direction is not Direction.UNKNOWN
    return last_week if is_short and is_known else found.get("previousPeriod")


def trends_by_comparison(trends: tuple[Trend, ...], metrics: tuple[str, ...]) -> dict[str, Trend]:
    """The trends of a metric, by any of its names, by what they compare with; of several the first."""
    return {trend.compared_with: trend for trend in reversed(trends) if trend.metric in metrics}
