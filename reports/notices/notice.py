"""What a chat, a mail or a log shows of a message or a report: described once, each channel lays it out its own way."""

from __future__ import annotations

from dataclasses import dataclass

from models.text_direction import cut_off
from reports.text.labels import MARKS


@dataclass(frozen=True)
class Item:
    """One item of a notice. `word` is its state; colour and mark follow from `tone`."""

    tone: str
    word: str
    text: str
    note: str = ""

    @property
    def mark(self) -> str:
        return MARKS[self.tone]

    @property
    def line(self) -> str:
        """All of it in one line of text."""
        return " ".join(part for part in (self.mark, self.text, f"({self.note})" if self.note else "") if part)


@dataclass(frozen=True)
class Notice:
    """`headline` says it all in a sentence; `title` what kind of news it is. A link may be missing."""

    title: str
    tone: str
    word: str
    headline: str
    items: tuple[Item, ...]
    hint: str
    footer: str
    link: str = ""
    not_listed: int = 0
    """Number of further items of which only this count is known."""

    @property
    def mark(self) -> str:
        return MARKS[self.tone]

    @property
    def remaining_items(self) -> tuple[Item, ...]:
        """What the headline does not say already."""
        shown_text = self.items and self.headline.startswith(self.items[0].text) and not self.items[0].note
        return self.items[1:] if shown_text else self.items

    def left_out(self, shown: int) -> int:
        """How many items are missing where so many of the remaining ones are shown."""
        return len(self.remaining_items) - shown + self.not_listed


LINK_TEXT = "Open the whole report"

COLOURS = {"good": "#009e73", "off": "#d6b400", "warning": "#e69f00", "critical": "#c44601", "unknown": "#5b6775"}
"""The house's, beside which a mark and a word always stand."""


def cut(text: str, most: int) -> str:
    """At most so many characters; what is cut off shows as an ellipsis."""
    return cut_off(text, most)


def more_text(left_out: int) -> str:
    """For what had no room."""
    return f"… and {left_out:,} more" if left_out else ""


def fitting(lines: list[str], most: int, not_listed: int = 0) -> list[str]:
    """As many lines as have room in `most` characters, with what stands for the rest and for those not listed."""
    room, kept = most - len(more_text(len(lines) + not_listed)) - 1, 0
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept += 1
    return lines[:kept]
