"""The common part of every template's document: the header's fields, and access to its headline numbers."""

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
    IntakePart,
    Kpi,
    PeriodPart,
    Trend,
)
from models.file_format import FileFormat
from models.kpis import Direction


class DocumentHeader(ApiModel, ABC):
    """The fields of every document, and uniform access to those that each template stores in its own part."""

    schema_version: str = SCHEMA_VERSION
    kind: Literal["hourly", "daily", "weekly", "custom"]
    depth: Literal["summary", "detailed"]
    metrics: tuple[str, ...] = ("all",)
    formats: tuple[FileFormat, ...] = tuple(FileFormat)
    """The file formats. Mails of a custom report attach these files, others the PDF."""
    generated_at: datetime
    locale: str = "en_US"
    paper: Literal["A4", "Letter"] = "A4"
    period: PeriodPart
    filters: Filters
    coverage: CoverageByColumn
    freshness: Freshness
    intake: IntakePart | None = None
    """What was rejected, set aside or not readable; null in documents before version 1.2: unknown."""
    notes: tuple[str, ...] = ()
    """Caveats about the numbers: roundings, missing columns, merged teams."""
    kpis: tuple[Kpi, ...]
    charts: Charts

    @property
    @abstractmethod
    def headline_numbers(self) -> ApiModel:
        """The summary, of the template's own kind."""

    @property
    @abstractmethod
    def selection_count(self) -> int:
        """Number of selections in the report."""

    @property
    @abstractmethod
    def spent_usd(self) -> float | None:
        """Their known cost in USD."""

    @property
    def trends(self) -> tuple[Trend, ...]:
        """Every trend of the report."""
        return ()

    @property
    def found_bottlenecks(self) -> tuple[Bottleneck, ...]:
        """The bottlenecks in the report."""
        return ()

    @property
    def config_changes(self) -> tuple[AppliedOptimization, ...]:
        """The changes of the router's config by optimizations, by time."""
        return ()

    def trend_of(self, metrics: tuple[str, ...]) -> Trend | None:
        """The change of a metric, by any of its names, compared with the most informative period.

        That is the period before; for a period shorter than a week the same time a week before, if known, because
        weekdays differ.
        """
        return leading_trend(self.trends, metrics, self.period)


def leading_trend(trends: tuple[Trend, ...], metrics: tuple[str, ...], period: PeriodPart) -> Trend | None:
    """Of the trends of a metric, by any of its names, the one that DocumentHeader.trend_of returns."""
    found = trends_by_comparison(trends, metrics)
    last_week = found.get("samePeriodLastWeek")
    is_short = period.end - period.start < timedelta(days=6)
    is_known = last_week is not None and last_week.direction is not Direction.UNKNOWN
    return last_week if is_short and is_known else found.get("previousPeriod")


def trends_by_comparison(trends: tuple[Trend, ...], metrics: tuple[str, ...]) -> dict[str, Trend]:
    """The trends of a metric, by any of its names, keyed by compared period; the first of several."""
    return {trend.compared_with: trend for trend in reversed(trends) if trend.metric in metrics}
