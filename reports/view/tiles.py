"""The tiles that templates share: one number at a glance, its state and its change."""

from __future__ import annotations

from models.documents import (
    Document,
    Kpi,
    Trend,
)
from models.kpis import KpiName
from reports.text.formatting import Formats
from reports.text.labels import (
    DIRECTION_TONES,
    KPI_LABELS,
    METRICS_OF_KPI,
    SPEND_METRICS,
    TONES,
    change_text,
    kpi_value,
    limit_text,
)
from reports.view.blocks import (
    Tile,
)


def kpi_tile(document: Document, name: KpiName, show: Formats) -> Tile:
    """One KPI with its state as word and tone, and its change where that is more than noise."""
    kpi = next(kpi for kpi in document.kpis if kpi.name is name)
    trend = document.trend_of(METRICS_OF_KPI[name])
    return Tile(
        label=KPI_LABELS[name],
        value=kpi_value(name, kpi.value, show),
        tone=TONES[kpi.state],
        state=kpi.state.value if kpi.value is not None else "",
        target=f"target {limit_text(name, kpi.target, show)}",
        change=change_text(trend, show) if trend else "",
        change_tone=_tone_of(trend),
        note=kpi.reason or _without_rejected(document, kpi, show) or show.coverage(kpi.coverage),
    )


def plain_tile(
    document: Document, label: str, value: str, metrics: tuple[str, ...], show: Formats, *, note: str = ""
) -> Tile:
    """A number that is neither good nor bad by itself."""
    trend = document.trend_of(metrics)
    change = change_text(trend, show) if trend else ""
    return Tile(label, value, change=change, change_tone=_tone_of(trend), note=note)


def spend_tile(document: Document, show: Formats) -> Tile:
    """What was spent, and over how many requests that is known."""
    note = show.coverage(document.coverage.cost)
    return plain_tile(document, "Spend", show.money(document.spent_usd), SPEND_METRICS, show, note=note)


def _without_rejected(document: Document, kpi: Kpi, show: Formats) -> str:
    """What the error rate is at least with failed calls that are not counted, where that is another one."""
    intake, of = document.intake, kpi.coverage.of
    is_of_all = intake is not None and not document.filters.leaves_out
    if kpi.name is not KpiName.ERROR_RATE or kpi.value is None or intake is None or not is_of_all:
        return ""
    with_them = (kpi.value * of + intake.errors_not_counted) / max(1, of + intake.not_counted)
    if with_them <= kpi.value or show.percent(with_them) == show.percent(kpi.value):
        return ""
    return f"at least {show.percent(with_them)} with failed calls that are not counted: see the notes"


def _tone_of(trend: Trend | None) -> str:
    return DIRECTION_TONES.get(trend.direction, "plain") if trend else "plain"
