"""The report about usage: who asks how much and when, and what changed."""

from __future__ import annotations

from models.document import UsageReport
from reports.blocks import Section
from reports.formats import Formats
from reports.panels import chart_blocks, notes_block


def usage_sections(document: UsageReport, show: Formats) -> list[Section]:
    """Its sections: the size of it first, then what changed."""
    return [
        Section("charts", "Charts", chart_blocks(document)),
        Section("notes", "Notes", (notes_block(document),)),
    ]
