"""The document itself, for programs."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic import BaseModel

from models.documents import Document
from models.text_direction import with_directions_escaped

_STEP = "  "


def render_json(document: Document) -> bytes:
    """UTF-8 JSON in camelCase, indented, the same bytes for the same document; unknown is null, never NaN."""
    out = io.BytesIO()
    write_json(document, out)
    return out.getvalue()


def write_json(document: Document, out: BinaryIO) -> None:
    """The same, piece by piece: a long period's points are never all there as text."""
    for piece in _object(document, ""):
        out.write(piece.encode())
    out.write(b"\n")


# ----------------------------------------------------------------------------------------------------------------------


def _object(part: BaseModel, pad: str) -> Iterator[str]:
    """One piece a field, and one an item of each list."""
    inner = pad + _STEP
    kind = type(part)
    fields = {name: field.serialization_alias or name for name, field in kind.model_fields.items()}
    # The former names of fields come last.
    fields |= {name: field.alias or name for name, field in kind.model_computed_fields.items()}
    plain = _loaded(part, {name for name in fields if not _is_large(getattr(part, name))})
    yield "{"
    for index, (name, alias) in enumerate(fields.items()):
        value = getattr(part, name)
        yield f"{',' if index else ''}\n{inner}{json.dumps(alias)}: "
        if isinstance(value, BaseModel):
            yield from _object(value, inner)
        elif _is_large(value):
            yield from _list(value, inner)
        else:
            yield _text(plain[alias], inner)
    yield f"\n{pad}}}"


def _list(items: tuple[Any, ...], pad: str) -> Iterator[str]:
    inner = pad + _STEP
    for index, item in enumerate(items):
        whole = _loaded(item) if isinstance(item, BaseModel) else item
        yield f"{',' if index else '['}\n{inner}{_text(whole, inner)}"
    yield f"\n{pad}]"


def _is_large(value: object) -> bool:
    return isinstance(value, BaseModel) or (isinstance(value, tuple) and bool(value))


def _loaded(part: BaseModel, names: set[str] | None = None) -> Any:
    """Return plain values, with null for NaN and infinities."""
    return json.loads(part.model_dump_json(by_alias=True, include=names))


def _text(value: Any, pad: str) -> str:
    text = json.dumps(value, indent=len(_STEP), ensure_ascii=False, allow_nan=False).replace("\n", f"\n{pad}")
    return with_directions_escaped(text)
