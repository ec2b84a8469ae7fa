"""What describes a report template: everything in which the formats treat one template unlike another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from models.documents import DocumentHeader
from models.report_template import Template
from models.settings import ChartName
from reports.charts.spec import ChartSpec
from reports.report_templates.rows import Rows
from reports.text.formatting import Formats
from reports.view.blocks import Section

D = TypeVar("D", bound=DocumentHeader)


def _no_state(_document: DocumentHeader, _show: Formats) -> str:
    return ""


@dataclass(frozen=True)
class TemplateCharts(Generic[D]):
    """The charts of a template: `chosen` are those that the settings choose from, `own` come first and always."""

    chosen: Mapping[ChartName, ChartSpec[D]]
    own: Mapping[str, ChartSpec[D]] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportTemplate(Generic[D]):
    """One template. HTML, PDF, mail, Markdown, webhook and chats are made of its sections; CSV of its tables.

    `clauses` are the parts of the one-sentence summary, where there were selections; empty ones are left out.
    `charts` gives its charts, and imports what draws them only then: most formats do without. `mail_state` ends a
    mail's subject in place of the worst tile's state, unless it is empty.
    """

    name: Template
    document: type[D]
    sections: Callable[[D, Formats], list[Section]]
    clauses: Callable[[D, Formats], list[str]]
    csv_tables: Callable[[D], Mapping[str, Rows]]
    charts: Callable[[], TemplateCharts[D]]
    mail_state: Callable[[D, Formats], str] = _no_state
