"""Count what a body of JSON would be built of, before it is built: three bytes can become a hundred."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator


def has_more_json_parts(body: bytes, most: int, check: Callable[[], None] = lambda: None) -> bool:
    """Whether a body of JSON has more objects, lists and values than `most`; calls `check` now and then.

    Each but the first has one of three bytes before it. Texts may have them too, which only matters where there are
    many: only then texts are passed over.
    """
    if _count(body) <= most:
        return False
    count = 0
    for plain in outside_texts(body):
        check()
        count += _count(plain)
        if count > most:
            return True
    return False


def outside_texts(body: bytes) -> Iterator[bytes]:
    """JSON without its texts, in chunks, so that others run in between."""
    position, is_within_text = 0, False
    while position < len(body):
        end = position + CHUNK_BYTES
        while body[end - 1 : end] == b"\\":
            end += 1
        # A text that the chunk's end divides takes the last byte with it.
        plain = _TEXT.sub(b"", b'"' * is_within_text + body[position:end] + _END)
        is_within_text = not plain.endswith(_END)
        yield plain.removesuffix(_END)
        position = end


CHUNK_BYTES = 4 * 1024 * 1024

# ----------------------------------------------------------------------------------------------------------------------

_END = b"\n"
_BEFORE_PARTS = (b"{", b"[", b",")
_TEXT = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
"""A text, or the beginning of one. Possessive: it never goes back."""


def _count(content: bytes) -> int:
    return sum(content.count(byte) for byte in _BEFORE_PARTS)
