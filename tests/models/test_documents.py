"""JSON whose fields have other names now: what was stored before is read, and both names are written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from models.documents import ReportDocument
from models.notifications import AnyMessage
from reports.renderers.json_document import render_json
from tests.support import documents, messages

NAMES = {"foldedAt": "rollupsUpdatedAt", "worth": "expectedGain"}
"""The present names of fields by their former ones."""

DOCUMENTS = [documents.performance("detailed"), documents.optimization("detailed"), documents.cost("detailed")]

report: TypeAdapter[Any] = TypeAdapter(ReportDocument)
message: TypeAdapter[Any] = TypeAdapter(AnyMessage)


def without(part: Any, names: set[str]) -> Any:
    """The same JSON without the fields of these names."""
    if isinstance(part, dict):
        return {name: without(value, names) for name, value in part.items() if name not in names}
    return [without(value, names) for value in part] if isinstance(part, list) else part


def found(part: Any, name: str) -> list[Any]:
    """Every value of the fields of a name, in order."""
    if isinstance(part, dict):
        here = [part[name]] if name in part else []
        return here + [it for value in part.values() for it in found(value, name)]
    return [it for value in part for it in found(value, name)] if isinstance(part, list) else []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda it: it.template)
def test_a_document_that_was_stored_under_the_former_names_is_read(document: Any) -> None:
    stored = document.model_dump(mode="json", by_alias=True)
    former = without(stored, set(NAMES.values()))
    assert former != stored
    assert report.validate_python(former) == document
    assert report.validate_python(stored) == report.validate_python(without(stored, set(NAMES))) == document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda it: it.template)
def test_a_document_is_written_under_both_names(document: Any) -> None:
    for written in (document.model_dump(mode="json", by_alias=True), json.loads(render_json(document))):
        for former, present in NAMES.items():
            assert found(written, former) == found(written, present)
        assert len(found(written, "foldedAt")) == 1
        assert found(written, "worth") or not document.recommendations


def test_the_present_name_counts_where_both_are_there() -> None:
    stored = documents.performance("detailed").model_dump(mode="json", by_alias=True)
    stored["freshness"]["foldedAt"] = None
    assert report.validate_python(stored) == documents.performance("detailed")


def test_a_message_that_was_stored_under_the_former_name_is_read() -> None:
    stored = messages.several().model_dump(mode="json", by_alias=True)
    former = without(stored, {"notifications"}) | {"news": stored["notifications"]}
    assert message.validate_python(former) == message.validate_python(stored) == messages.several()


def test_what_never_was_a_name_is_refused() -> None:
    stored = documents.cost("detailed").model_dump(mode="json", by_alias=True)
    with pytest.raises(ValidationError, match="extra_forbidden"):
        report.validate_python(stored | {"foldedAt": None})
