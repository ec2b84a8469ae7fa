"""The report about optimizations: what waits, what was changed, and what came of it."""

from __future__ import annotations

from models.document import OptimizationReport
from models.kpi import KpiName
from reports.blocks import Section, Tiles
from reports.formats import Formats
from reports.panels import action_blocks, chart_blocks, found_blocks, kpi_tile, notes_block


def optimization_sections(document: OptimizationReport, show: Formats) -> list[Section]:
    """Its sections, in the order in which somebody decides."""
    return [
        Section("overview", "At a glance", (Tiles((kpi_tile(document, KpiName.COST_EFFICIENCY, show),)),)),
        Section("done", "What waits for a decision and is recommended", action_blocks(document, show)),
        Section("found", "Bottlenecks", found_blocks(document, show)),
        Section("charts", "Charts", chart_blocks(document)),
        Section("notes", "Notes", (notes_block(document),)),
    ]
