"""Read JSON as programs write it: what is no JSON in one value costs that value, and neither its row nor the others."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import IO, Any

import orjson

UNREADABLE = "\0"
"""Stands before the code of what is no character, such as half of one or a byte that is no text.

No name may have it, so that the gate makes such a field unknown, and ids that differ in it still differ."""


def parse_json(content: bytes | str) -> Any:
    """Parse JSON, also with NaN, infinities, numbers of any size, control characters and bytes that are no text.

    Python writes the first, JavaScript halves of characters, where it cuts a text. Raises orjson.JSONDecodeError, which
    is a ValueError, for what is no JSON with these either.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        try:
            return _parse_leniently(content)
        except (ValueError, RecursionError):
            pass
        raise


def split_objects(stream: IO[bytes], largest: int) -> Iterator[bytes]:
    """The texts of the objects of an array, or of objects one after another, whatever is in them.

    Values between them that are no objects come one by one as well, as they are. Raises ValueError if the last object
    has no end, or if one is longer than `largest` bytes, as where a bracket is missing.
    """
    content, start, position, depth, is_within_text = b"", 0, 0, 0, False
    is_array: bool | None = None
    while chunk := stream.read(_CHUNK_BYTES):
        content, start, position = content[start:] + chunk, 0, position - start
        if is_array is None:
            is_array = content.lstrip(_BLANK).startswith(b"[")
        while mark := (_MARKS_IN_TEXT if is_within_text else _MARKS).search(content, position):
            sign = mark[0]
            if sign == b"\\" and mark.end() == len(content):
                # What it escapes comes with the next chunk.
                position = mark.start()
                break
            position = mark.end() + (sign == b"\\")
            if sign == b'"':
                is_within_text = not is_within_text
            elif sign == b"{":
                if depth == 0:
                    yield from _between(content[start : mark.start()])
                    start = mark.start()
                depth += 1
            elif sign == b"}" and depth:
                depth -= 1
                if depth == 0:
                    yield content[start:position]
                    start = position
        else:
            position = len(content)
        if len(content) - start > largest:
            raise ValueError(f"an object is longer than {largest:,} bytes")
    if depth or is_within_text or (is_array and not content[start:].rstrip(_BLANK).endswith(b"]")):
        raise ValueError("the last object has no end, or the array has none")
    yield from _between(content[start:])


def decode_text(raw: bytes, encoding: str = "utf-8") -> str:
    """Decode text; bytes that are none become UNREADABLE and their code."""
    return raw.decode(encoding, _HANDLER)


# ----------------------------------------------------------------------------------------------------------------------

_HANDLER = "routewatch-unreadable"

_CHUNK_BYTES = 1024 * 1024
_BLANK = b" \t\r\n\xef\xbb\xbf"
_MARKS = re.compile(rb'["{}]')
_MARKS_IN_TEXT = re.compile(rb'["\\]')


def _between(content: bytes) -> Iterator[bytes]:
    """The values between two objects."""
    for part in content.split(b","):
        if value := part.strip(_BLANK + b"[]"):
            yield value


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return f"{UNREADABLE}{error.object[error.start : error.end].hex()}", error.end


codecs.register_error(_HANDLER, _escaped)

_HALF = re.compile("[\ud800-\udfff]")
_LARGEST_INTEGER = 2**64


def _parse_leniently(content: bytes | str) -> Any:
    text = decode_text(content) if isinstance(content, bytes) else content
    value = json.loads(text, strict=False, parse_int=_integer, object_pairs_hook=_object)
    return _whole(value)


def _integer(digits: str) -> int | float:
    """An integer of up to 64 bits; beyond, the nearest float, as orjson reads it, or infinity."""
    number = float(digits)
    return int(digits) if math.isfinite(number) and abs(number) < _LARGEST_INTEGER else number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {_whole(name): _whole(value) for name, value in pairs}


def _whole(value: Any) -> Any:
    """A value without halves of characters. Objects in it have none already."""
    if isinstance(value, str):
        return _HALF.sub(lambda half: f"{UNREADABLE}{ord(half[0]):x}", value)
    return [_whole(item) for item in value] if isinstance(value, list) else value
