"""The bytes of a text file: one kind of line end, and what a file really is whose name says text."""

from __future__ import annotations

import codecs
import io
from typing import IO, NamedTuple

HEAD_BYTES = 1_024


class FoundFormat(NamedTuple):
    """What a file is instead of text, and what to do about it."""

    found: str
    expected: str


class UniversalNewlines(io.RawIOBase):
    """A stream in which each line ends in a line feed: old Macs write a carriage return, Windows both."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._after_return = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while block := self._stream.read(len(buffer)):
            # What is joined here would otherwise be two line ends.
            block, ended = block.removeprefix(b"\n") if self._after_return else block, block.endswith(b"\r")
            self._after_return = ended
            if b"\r" in block:
                block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            if block:
                buffer[: len(block)] = block
                return len(block)
        return 0


def other_format(head: bytes) -> FoundFormat | None:
    """What a file is by its first bytes, if that is not text in UTF-8 or an encoding that extends ASCII."""
    for start, found in _STARTS.items():
        if head.startswith(start):
            return found
    if not head.strip(b"\0"):
        return _ZEROES if head else None
    for encoding, offset in (("UTF-16LE", 1), ("UTF-16BE", 0)):
        # Of what is mostly ASCII, each second byte is zero.
        if head[offset::2].count(0) > len(head) // 4 and not head[1 - offset :: 2].count(0):
            return _utf(encoding)
    return None


# ----------------------------------------------------------------------------------------------------------------------


def _utf(encoding: str) -> FoundFormat:
    convert = f"`iconv -f {encoding} -t UTF-8 FILE` converts it; spreadsheets save as `CSV UTF-8`"
    return FoundFormat(f"it is encoded in {encoding}", f"UTF-8: {convert}")


_ZEROES = FoundFormat(
    "it begins with zero bytes only, as after a crash or on a full disk", "text: copy or export the file again"
)
_STARTS = {
    # The longer start first: UTF-32 begins as UTF-16 does.
    codecs.BOM_UTF32_LE: _utf("UTF-32"),
    codecs.BOM_UTF32_BE: _utf("UTF-32"),
    codecs.BOM_UTF16_LE: _utf("UTF-16"),
    codecs.BOM_UTF16_BE: _utf("UTF-16"),
    b"\x1f\x8b": FoundFormat("it is compressed by gzip", "text, or a name that ends in .gz, once per compression"),
    b"PK\x03\x04": FoundFormat(
        "it is a ZIP archive or a spreadsheet", "text: unpack it, or save the spreadsheet as `CSV UTF-8`"
    ),
    b"\x28\xb5\x2f\xfd": FoundFormat("it is compressed by Zstandard", "text, or gzip: `unzstd FILE` unpacks it"),
    b"BZh": FoundFormat("it is compressed by bzip2", "text, or gzip: `bunzip2 FILE` unpacks it"),
    b"\xfd7zXZ\0": FoundFormat("it is compressed by xz", "text, or gzip: `unxz FILE` unpacks it"),
    b"PAR1": FoundFormat("it is Parquet", "text, or a name that ends in .parquet"),
}
