"""The document itself, for programs."""

from __future__ import annotations

import json

from models.document import Document


def render_json(document: Document) -> bytes:
    """UTF-8 JSON in camelCase, indented, the same bytes for the same document; unknown is null, never NaN."""
    parsed = json.loads(document.model_dump_json(by_alias=True))
    return (json.dumps(parsed, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
