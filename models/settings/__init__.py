"""The settings file: the product document's blocks, and Routewatch's own beside them.

One module defines each block; `root` combines them and reads the file.
"""

from __future__ import annotations

from models.settings.block import Milliseconds, SettingsBlock
from models.settings.delivery import DeliverySettings
from models.settings.ingestion import DEFAULT_INGESTION, Ingestion
from models.settings.monitoring import Alerting, ChartName, DashboardSettings, Monitoring, PerformanceMetrics
from models.settings.optimizer import ChoiceKnob, NumericKnob, Optimizer, Rollout, Switchback
from models.settings.reporting import Budget, CustomReports, Reporting, Schedule, Schedules
from models.settings.root import Settings, faults_of, load_settings, parse_settings
from models.settings.sources import ComplexityRule, SourceKind, SourceSettings

__all__ = [
    "DEFAULT_INGESTION",
    "Alerting",
    "Budget",
    "ChartName",
    "ChoiceKnob",
    "ComplexityRule",
    "CustomReports",
    "DashboardSettings",
    "DeliverySettings",
    "Ingestion",
    "Milliseconds",
    "Monitoring",
    "NumericKnob",
    "Optimizer",
    "PerformanceMetrics",
    "Reporting",
    "Rollout",
    "Schedule",
    "Schedules",
    "Settings",
    "SettingsBlock",
    "SourceKind",
    "SourceSettings",
    "Switchback",
    "faults_of",
    "load_settings",
    "parse_settings",
]
