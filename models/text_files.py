"""Read text files that people edit."""

from __future__ import annotations

import codecs
from pathlib import Path


def read_text(path: Path) -> str:
    """Return a file's text, with or without a byte order mark. Raises OSError, or ValueError if it is not UTF-8."""
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ValueError("it is encoded in UTF-16, expected UTF-8: `iconv -f UTF-16 -t UTF-8 FILE` converts it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1:,} of it is not UTF-8") from None
