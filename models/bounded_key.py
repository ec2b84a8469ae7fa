"""Bound the texts under which rows are found: PostgreSQL refuses an index row of more than 2,704 bytes."""

from __future__ import annotations

import hashlib

LONGEST_KEY_BYTES = 400
"""Longest key in UTF-8 that is stored unchanged: three of them still fit into one index row."""

_KEPT_CHARACTERS = 60
_DIGEST_CHARACTERS = 40


def bounded_key(text: str) -> str:
    """Return a text of at most `LONGEST_KEY_BYTES` in UTF-8 that is the same for the same text and for no other.

    A short text stays unchanged. Of a long one the beginning stays readable, and a digest stands for all of it.
    """
    whole = text.encode("utf-8", "surrogatepass")
    if len(whole) <= LONGEST_KEY_BYTES:
        return text
    return f"{text[:_KEPT_CHARACTERS]}…{hashlib.sha256(whole).hexdigest()[:_DIGEST_CHARACTERS]}"
