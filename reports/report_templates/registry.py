"""Registry of the templates: the only place that maps a document's type to its template."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models.documents import Document
from models.report_template import Template
from reports.report_templates.cost.template import TEMPLATE as COST
from reports.report_templates.definition import ReportTemplate
from reports.report_templates.optimization.template import TEMPLATE as OPTIMIZATION
from reports.report_templates.performance.template import TEMPLATE as PERFORMANCE
from reports.report_templates.usage.template import TEMPLATE as USAGE

TEMPLATES: Mapping[Template, ReportTemplate[Any]] = {
    template.name: template for template in (PERFORMANCE, COST, USAGE, OPTIMIZATION)
}


def template_of(document: Document) -> ReportTemplate[Any]:
    """What describes a document's template."""
    return TEMPLATES[Template(document.template)]
