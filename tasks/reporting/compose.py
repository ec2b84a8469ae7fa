"""Build a report document from the collected material. Pure; the caller passes the clock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from models.documents import Document
from models.report_template import Template
from models.settings import Settings
from tasks.reporting.composition import Composer, Composition
from tasks.reporting.documents import cost, optimization, performance, usage
from tasks.reporting.material import ReportMaterial
from tasks.reporting.request import Request

COMPOSERS: Mapping[Template, Composer] = {
    module.COMPOSER.template: module.COMPOSER for module in (performance, cost, usage, optimization)
}
"""Builder of each template's document."""


def compose(request: Request, material: ReportMaterial, settings: Settings, now: datetime) -> Document:
    """Build the document of a report; `now` becomes its generatedAt."""
    return COMPOSERS[request.template].compose(Composition(request, material, settings, now))


# ----------------------------------------------------------------------------------------------------------------------
