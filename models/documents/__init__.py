"""The report document: every number of a report, computed and not yet rendered.

One document is stored per report, and HTML, PDF, mail, CSV and JSON are rendered from it alone. Its JSON names are the
product document's (camelCase). None is "unknown", never zero. One module describes each template.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import Field

from models.documents.bottlenecks import (
    Bottleneck,
    ErrorBurst,
    HighCost,
    Hotspot,
    LowCacheHitRate,
    ModelRegression,
    SlowResponse,
    SpendSpike,
)
from models.documents.changes import (
    AppliedOptimization,
    Conclusion,
    ConfigChangeProposal,
    ConfigHistoryEntry,
    MetricChange,
    Recommendation,
    TrialMethod,
    TrialPoint,
    TrialStepTaken,
    TrialSummary,
    Verdict,
)
from models.documents.common import (
    CONFIDENCE,
    ERROR_BUDGET,
    SCHEMA_VERSION,
    Charts,
    Coverage,
    CoverageByColumn,
    DistributionBin,
    Evidence,
    Filters,
    FiredAlert,
    Freshness,
    HeatmapCell,
    IntakePart,
    IntakeReason,
    Interval,
    Kpi,
    PeriodPart,
    ReportAlert,
    TimelinePoint,
    Trend,
)
from models.documents.cost import CostReport, CostSummary, GroupCost, ModelCost
from models.documents.header import DocumentHeader, leading_trend
from models.documents.optimization import OptimizationReport, OptimizationSummary
from models.documents.performance import ModelStats, PerformanceReport, PerformanceSummary
from models.documents.spending import (
    Baseline,
    Baselines,
    BudgetProjection,
    OptimizationSavings,
    Savings,
    SavingsByClass,
    SpendCause,
)
from models.documents.usage import (
    GroupUsage,
    HourOfWeek,
    Mover,
    NewModel,
    PeakHour,
    UsageReport,
    UsageSummary,
    VanishedModel,
    VolumeChange,
    VolumePoint,
)
from models.kpis import Direction

__all__ = [
    "CONFIDENCE",
    "ERROR_BUDGET",
    "SCHEMA_VERSION",
    "AppliedOptimization",
    "Baseline",
    "Baselines",
    "Bottleneck",
    "BudgetProjection",
    "Charts",
    "Conclusion",
    "ConfigChangeProposal",
    "ConfigHistoryEntry",
    "CostReport",
    "CostSummary",
    "Coverage",
    "CoverageByColumn",
    "Direction",
    "DistributionBin",
    "Document",
    "DocumentHeader",
    "ErrorBurst",
    "Evidence",
    "Filters",
    "FiredAlert",
    "Freshness",
    "GroupCost",
    "GroupUsage",
    "HeatmapCell",
    "HighCost",
    "Hotspot",
    "HourOfWeek",
    "IntakePart",
    "IntakeReason",
    "Interval",
    "Kpi",
    "LowCacheHitRate",
    "MetricChange",
    "ModelCost",
    "ModelRegression",
    "ModelStats",
    "Mover",
    "NewModel",
    "OptimizationReport",
    "OptimizationSavings",
    "OptimizationSummary",
    "PeakHour",
    "PerformanceReport",
    "PerformanceSummary",
    "PeriodPart",
    "Recommendation",
    "ReportAlert",
    "ReportDocument",
    "Savings",
    "SavingsByClass",
    "SlowResponse",
    "SpendCause",
    "SpendSpike",
    "TimelinePoint",
    "Trend",
    "TrialMethod",
    "TrialPoint",
    "TrialStepTaken",
    "TrialSummary",
    "UsageReport",
    "UsageSummary",
    "VanishedModel",
    "Verdict",
    "VolumeChange",
    "VolumePoint",
    "document_as",
    "leading_trend",
]

Document = PerformanceReport | CostReport | OptimizationReport | UsageReport
ReportDocument = Annotated[Document, Field(discriminator="template")]


D = TypeVar("D", bound=DocumentHeader)


def document_as(document: Document, kind: type[D]) -> D:
    """Narrow a document to the expected kind. Raises TypeError if it is of another kind."""
    if not isinstance(document, kind):
        raise TypeError(f"this is a {type(document).__name__}, expected a {kind.__name__}")
    return document
