"""Apply permitted recommendations, and record the results in the report's material."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from models.context import AppContext
from tasks.optimizer.apply import DecisionContext, applied_in, apply
from tasks.reporting.material import ReportMaterial


def apply_recommendations(ctx: AppContext, material: ReportMaterial, now: datetime) -> ReportMaterial:
    """Apply permitted recommendations; return the material with their statuses and the config changes."""
    current = material.current
    rule_inputs = DecisionContext(current.period, current.last_selection_at, now)
    decided = apply(ctx.engine, material.recommendations, ctx.settings, rule_inputs)
    applied = applied_in(ctx.engine, current.period.start, now)
    return replace(material, recommendations=decided, applied=applied)


def with_links(material: ReportMaterial, links: dict[int, str]) -> ReportMaterial:
    """Return the material with links on pending recommendations."""
    linked = (
        item.model_copy(update={"decide_url": links.get(item.optimization_id or 0)})
        if item.status == "waiting"
        else item
        for item in material.recommendations
    )
    return replace(material, recommendations=tuple(linked))
