"""Every template is described in one module, and no other code branches on a document's type."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import get_args

import pytest

from models.documents import CostReport, Document, PerformanceReport, document_as
from models.report_template import Template
from models.settings import ChartName
from reports.report_templates.registry import TEMPLATES, template_of
from tasks.reporting.compose import COMPOSERS
from tests.support import documents
from tests.support.paths import ROOT

PACKAGES = ("models", "reports", "tasks", "flows", "dashboard", "deployments", "examples")
DOCUMENTS = {kind.__name__: kind for kind in get_args(Document)}
TYPES = {*DOCUMENTS, "Document", "DocumentHeader"}
LOOK_UP = "models/documents/__init__.py"
"""The line in which document_as checks that a document is of the requested kind."""


def branches_in(path: Path) -> list[str]:
    """Return each position in a module that branches on a document's type or its template's name."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        is_check = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "isinstance"
        asked = ast.unparse(node.args[1]) if is_check and isinstance(node, ast.Call) else ""
        pattern = ast.unparse(node.cls) if isinstance(node, ast.MatchClass) else ""
        compared = ast.unparse(node.left) if isinstance(node, ast.Compare) else ""
        subject = ast.unparse(node.subject) if isinstance(node, ast.Match) else ""
        if TYPES & set(asked.replace("|", " ").replace(",", " ").strip("()").split()) or pattern in TYPES:
            found.append(f"{path}:{getattr(node, 'lineno', 0)}")
        if compared.endswith((".template", "type(document)")) or subject.endswith(".template"):
            found.append(f"{path}:{getattr(node, 'lineno', 0)}")
    return found


def test_every_template_has_a_description_and_a_composer() -> None:
    assert TEMPLATES.keys() == COMPOSERS.keys() == set(Template)
    assert {template.document for template in TEMPLATES.values()} == set(DOCUMENTS.values())


@pytest.mark.parametrize("name", Template)
def test_a_description_is_of_the_document_that_bears_its_name(name: Template) -> None:
    template = TEMPLATES[name]
    assert template.document.model_fields["template"].default == template.name == name
    assert template.charts().chosen.keys() <= set(ChartName)
    assert not set(template.charts().own) & set(ChartName)


def test_a_document_is_described_by_its_template() -> None:
    assert template_of(documents.cost()) is TEMPLATES[Template.COST]


def test_a_document_of_another_kind_is_refused() -> None:
    assert document_as(documents.cost(), CostReport) == documents.cost()
    with pytest.raises(TypeError, match="this is a CostReport, expected a PerformanceReport"):
        document_as(documents.cost(), PerformanceReport)


def test_no_branch_on_a_documents_type_is_left() -> None:
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    assert len(modules) > 300
    assert [branch for path in modules for branch in branches_in(path) if LOOK_UP not in branch] == []


@pytest.mark.parametrize(
    "code",
    [
        "isinstance(document, CostReport)",
        "isinstance(document, CostReport | UsageReport)",
        "document.template == 'cost'",
        "request.template in ('cost', 'usage')",
        "match document:\n    case CostReport():\n        pass",
        "match request.template:\n    case 'cost':\n        pass",
        "type(document) is CostReport",
    ],
)
def test_a_branch_would_be_found(code: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(code)
    assert len(branches_in(module)) == 1
