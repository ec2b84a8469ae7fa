"""JSON Schemas of the reports, one per template, for programs that read reports.

`python -m deployments.reference.json_schemas` writes them to docs/schemas.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from models.documents import SCHEMA_VERSION, Document

FOLDER = Path(__file__).parents[2] / "docs" / "schemas"
_MAJOR = SCHEMA_VERSION.partition(".")[0]


def schema_files() -> dict[str, str]:
    """Return each template's schema as JSON, by file name."""
    templates = {str(kind.model_fields["template"].default): kind for kind in get_args(Document)}
    return {f"{name}.schema.json": _text(schema_of(name, kind)) for name, kind in templates.items()}


def schema_of(template: str, kind: type[BaseModel]) -> dict[str, Any]:
    """Return the schema of a template's JSON. It allows fields that later minor versions add."""
    schema: dict[str, Any] = _open(kind.model_json_schema(mode="serialization", by_alias=True))
    schema["properties"]["schemaVersion"] |= {"pattern": rf"^{_MAJOR}\.[0-9]+$"}
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:routewatch:report:{template}:{SCHEMA_VERSION}",
        "title": f"Routewatch {template} report",
    }
    return head | {name: part for name, part in schema.items() if name != "title"}


def write(folder: Path = FOLDER) -> None:
    """Regenerate the schemas."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in schema_files().items():
        (folder / name).write_text(text, encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------------------


def _open(part: Any) -> Any:
    """Return the schema without `additionalProperties: false`, which only our own parsing enforces."""
    if isinstance(part, dict):
        return {name: _open(inner) for name, inner in part.items() if (name, inner) != ("additionalProperties", False)}
    return [_open(inner) for inner in part] if isinstance(part, list) else part


def _text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    write()
