"""Apply what may be applied, and say so in the report's material."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from models.context import Workplace
from tasks.optimizer.apply import Evidence, applied_in, apply
from tasks.reporting.material import Material


def apply_recommendations(place: Workplace, material: Material, now: datetime) -> Material:
    """Carry out what may be; the same material, saying what became of each recommendation and what was changed."""
    current = material.current
    evidence = Evidence(current.period, current.last_selection_at, now)
    settled = apply(place.engine, material.recommendations, place.settings, evidence)
    applied = applied_in(place.engine, current.period.start, now)
    return replace(material, recommendations=settled, applied=applied)


def with_links(material: Material, links: dict[int, str]) -> Material:
    """The same with the links on the recommendations that wait."""
    linked = (
        item.model_copy(update={"decide_url": links.get(item.optimization_id or 0)})
        if item.status == "waiting"
        else item
        for item in material.recommendations
    )
    return replace(material, recommendations=tuple(linked))
