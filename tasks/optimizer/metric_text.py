"""A metric in the reasons of verdicts: in English, whatever the reports' locale is, as reasons are stored."""

from __future__ import annotations

from models.metrics import metric_of


def label_of(metric: str) -> str:
    """Return a metric's name within a sentence."""
    return metric_of(metric).label.lower()


def value_text(metric: str, value: float | None) -> str:
    """Return a value in the metric's unit."""
    # Numbers need the locale data, which no command loads that only starts a trial.
    from reports.text.formatting import Formats  # noqa: PLC0415
    from reports.text.labels import metric_value  # noqa: PLC0415

    return metric_value(metric, value, Formats("en_US", "UTC"))


def before_after_text(metric: str, before: float | None, after: float | None) -> str:
    """Return a metric with its values on both sides, such as: error rate 2.0% → 4.5%."""
    if before is None or after is None:
        return f"{label_of(metric)} unknown"
    return f"{label_of(metric)} {value_text(metric, before)} → {value_text(metric, after)}"
