"""Read protobuf's wire format without building messages: count what is in a body, and cut it down to what is read.

Two bytes of a body can become a message of a hundred bytes, and fifty kilobytes of gzip hold twenty million of them. So
nothing is built that was not counted before, and of a span only the fields and attributes that are read are built.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Final

Field = tuple[int, int, int, int, int]
"""A field's number and kind, the positions at which the field and its value begin, and the one after its end."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class TooLarge(ValueError):
    """More than is accepted at once, or a part that is too large."""


class TooSlow(ValueError):
    """Decoding took longer than it may."""


class Abandoned(Exception):
    """The caller hung up: nobody waits for the result."""


@dataclass
class DecodingBudget:
    """What decoding one request may cost. By default nothing is limited.

    `most_items` holds for resources, for scopes, and for spans or log records, each by itself; `most_parts` for
    all fields that are looked at, attributes, links and events among them, and `most_of_item` for those of one
    resource, scope or item. `ends_at_s` is of the monotonic clock.
    """

    most_items: float = inf
    most_parts: float = inf
    most_of_item: float = inf
    ends_at_s: float = inf
    is_abandoned: Callable[[], bool] = lambda: False
    _items: Counter[str] = field(default_factory=Counter)
    _parts: int = 0
    _parts_before_item: int = 0

    def count(self, kind: str) -> None:
        """Count one resource, scope or item before it is built. Raises TooLarge."""
        self._items[kind] += 1
        if self._items[kind] > self.most_items:
            raise TooLarge(f"has more than {self.most_items} {kind}")

    def begin(self) -> None:
        """Begin to look at one resource, scope or item."""
        self._parts_before_item = self._parts

    def spend(self, parts: int) -> None:
        """Count parts before they are built. Raises TooLarge, TooSlow and Abandoned."""
        self._parts += parts
        if self._parts > self.most_parts:
            raise TooLarge(f"has more than {self.most_parts} {_PARTS}")
        if self._parts - self._parts_before_item > self.most_of_item:
            raise TooLarge(f"has more than {self.most_of_item} {_PARTS} in one resource, scope, span or log record")
        self.check()

    def check(self) -> None:
        """Raises TooSlow and Abandoned."""
        if time.monotonic() > self.ends_at_s:
            raise TooSlow("takes too long to decode")
        if self.is_abandoned():
            raise Abandoned


def fields(body: bytes, position: int, end: int, budget: DecodingBudget) -> Iterator[Field]:
    """The fields of the message between two positions. Raises ValueError if they are not a message."""
    visited = 0
    while position < end:
        visited += 1
        if visited == _AT_ONCE:
            budget.spend(visited)
            visited = 0
        start, tag = position, body[position]
        position += 1
        if tag >= _MORE:
            tag, position = _number(body, start, end)
        kind = tag & 7
        if kind == BYTES:
            # Most lengths have one byte, and this is what takes the time.
            length = body[position] if position < end else _MORE
            if length < _MORE:
                position += 1
            else:
                length, position = _number(body, position, end)
            value, position = position, position + length
        elif kind == VARINT:
            value = position
            _, position = _number(body, position, end)
        elif kind in _SIZES:
            value, position = position, position + _SIZES[kind]
        else:
            raise ValueError("is not an OTLP message in protobuf")
        if position > end:
            raise ValueError("is no OTLP message in protobuf: it breaks off")
        yield tag >> 3, kind, start, value, position
    budget.spend(visited)


@dataclass(frozen=True)
class Layout:
    """What is read of a kind of message, by field number: fields as they are, attributes, and messages in it."""

    kept: frozenset[int] = frozenset()
    attributes: int = 0
    nested: Mapping[int, Layout] = field(default_factory=dict)


RESOURCE = Layout(attributes=1)
SPAN = Layout(
    # trace_id, span_id, parent_span_id, start, end and status
    kept=frozenset({1, 2, 4, 7, 8, 15}),
    attributes=9,
    # events with their time, links with the span that they lead to
    nested={11: Layout(kept=frozenset({1}), attributes=3), 13: Layout(kept=frozenset({1, 2}))},
)
# time, trace_id, span_id, observed time
LOG_RECORD = Layout(kept=frozenset({1, 9, 10, 11}), attributes=6)


def cut_down(  # noqa: PLR0917 - where, what, and for how much
    body: bytes, position: int, end: int, layout: Layout, wants: Callable[[str], bool], budget: DecodingBudget
) -> bytes:
    """A message with only what is read of it. Attributes that hold lists or maps are not: only scalars are read."""
    # Of a field that occurs again the last one holds, as the protocol has it.
    kept: dict[int, bytes] = {}
    parts = []
    for number, kind, start, value, ends in fields(body, position, end, budget):
        if number in layout.kept:
            kept[number] = body[start:ends]
        elif kind != BYTES or value == ends:
            continue
        elif number == layout.attributes:
            if _is_wanted(body, value, ends, wants, budget):
                parts.append(body[start:ends])
        elif number in layout.nested:
            inner = cut_down(body, value, ends, layout.nested[number], wants, budget)
            parts.append(_varint(number << 3 | BYTES) + _varint(len(inner)) + inner)
    return b"".join((*kept.values(), *parts))


# ----------------------------------------------------------------------------------------------------------------------

_PARTS = "attributes, links, events and other fields"
_AT_ONCE: Final = 256
"""Fields between two looks at the clock."""

_SIZES = {FIXED64: 8, FIXED32: 4}
_BITS, _MORE, _LONGEST_VARINT = 7, 0x80, 10
_KEY, _VALUE = 1, 2
_LAST_SCALAR = 4
"""Number of the last field of an AnyValue that is a scalar and read: text, bool, integer, double."""


def _is_wanted(body: bytes, position: int, end: int, wants: Callable[[str], bool], budget: DecodingBudget) -> bool:
    """Whether an attribute has a name that is read and nothing but scalars."""
    key, values = b"", []
    for number, kind, _start, value, ends in fields(body, position, end, budget):
        if number == _KEY and kind == BYTES:
            key = body[value:ends]
        elif number == _VALUE and kind == BYTES:
            values.append((value, ends))
    if not wants(key.decode(errors="replace")):
        return False
    return all(number <= _LAST_SCALAR for span in values for number, *_ in fields(body, *span, budget))


def _number(body: bytes, position: int, end: int) -> tuple[int, int]:
    """Decode a varint; also return the position after it."""
    value = 0
    for index, byte in enumerate(body[position : min(end, position + _LONGEST_VARINT)]):
        value |= (byte & ~_MORE) << (_BITS * index)
        if not byte & _MORE:
            return value, position + index + 1
    raise ValueError("is no OTLP message in protobuf")


def _varint(value: int) -> bytes:
    found = bytearray()
    while value >= _MORE:
        found.append(value & (_MORE - 1) | _MORE)
        value >>= _BITS
    found.append(value)
    return bytes(found)
