"""The promised format of a report's JSON is published, and kept."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from deployments.reference import json_schemas as schema
from models.documents import SCHEMA_VERSION
from reports.renderers.json_document import render_json
from tests.support import documents
from tests.support.random_documents import CASES, TEMPLATES, thrown

FIXTURES = (
    documents.performance(),
    documents.performance("summary", days=1),
    documents.cost(),
    documents.optimization(),
    documents.usage(),
    documents.empty(),
    documents.empty_cost(),
    documents.empty_optimization(),
    documents.with_markup(),
)


@pytest.fixture(scope="module")
def validators() -> dict[str, Draft202012Validator]:
    """By template, from the published files."""
    if os.environ.get("ROUTEWATCH_REGOLD"):
        schema.write()
    published = {path.name.partition(".")[0]: json.loads(path.read_text()) for path in schema.FOLDER.glob("*.json")}
    return {
        template: Draft202012Validator(content, format_checker=Draft202012Validator.FORMAT_CHECKER)
        for template, content in published.items()
    }


def test_the_published_schemas_are_those_of_the_models(validators: dict[str, Any]) -> None:
    published = {path.name: path.read_text(encoding="utf-8") for path in schema.FOLDER.glob("*.json")}
    assert published == schema.schema_files(), "run `python -m deployments.reference.json_schemas`"
    assert validators.keys() == {kind.model_fields["template"].default for kind in TEMPLATES}
    for validator in validators.values():
        Draft202012Validator.check_schema(validator.schema)


@pytest.mark.parametrize("document", FIXTURES, ids=lambda it: f"{it.template}-{it.kind}-{it.depth}")
def test_every_sample_keeps_to_its_schema(document: Any, validators: dict[str, Any]) -> None:
    validators[document.template].validate(json.loads(render_json(document)))


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("case", CASES)
def test_whatever_is_in_a_report_keeps_to_its_schema(template: Any, case: str, validators: dict[str, Any]) -> None:
    few, many = CASES[case].most
    document = thrown(template, replace(CASES[case], most=(min(few, 3), min(many, 3)), hours=3))
    validators[document.template].validate(json.loads(render_json(document)))


def test_a_field_that_is_missing_or_of_another_type_is_found(validators: dict[str, Any]) -> None:
    reported = json.loads(render_json(documents.performance("summary")))
    for broken in (
        {name: part for name, part in reported.items() if name != "modelBreakdown"},
        reported | {"summary": reported["summary"] | {"totalSelections": "many"}},
        reported | {"generatedAt": "yesterday"},
        reported | {"schemaVersion": "2.0"},
        reported | {"template": "cost"},
    ):
        with pytest.raises(ValidationError):
            validators["performance"].validate(broken)


def test_a_later_version_may_add_what_an_earlier_schema_does_not_know(validators: dict[str, Any]) -> None:
    reported = json.loads(render_json(documents.performance("summary")))
    major = SCHEMA_VERSION.partition(".")[0]
    validators["performance"].validate(reported | {"schemaVersion": f"{major}.99", "somethingNew": 1})


def test_the_schemas_say_what_their_parts_mean(validators: dict[str, Any]) -> None:
    for validator in validators.values():
        parts = validator.schema["$defs"]
        assert parts["Interval"]["description"].startswith("An estimate with its bounds")
        assert "Caveats about the numbers" in validator.schema["properties"]["notes"]["description"]
