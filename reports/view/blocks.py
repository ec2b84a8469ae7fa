"""What a report is made of: tiles, tables, findings, actions. Texts are final; the look is left to each channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeVar

from reports.text.labels import MARKS

Tone = Literal["good", "off", "warning", "critical", "unknown", "plain"]


@dataclass(frozen=True)
class Tile:
    """One number at a glance. `state` is a word; colour and mark follow from `tone`."""

    label: str
    value: str
    tone: str = "plain"
    state: str = ""
    target: str = ""
    change: str = ""
    change_tone: str = "plain"
    note: str = ""

    @property
    def mark(self) -> str:
        return MARKS[self.tone]


@dataclass(frozen=True)
class Cell:
    """One cell; `bar` is the length of its small bar in 0..1, None for no bar."""

    text: str
    bar: float | None = None
    tone: str = "plain"

    @property
    def mark(self) -> str:
        return MARKS[self.tone]


@dataclass(frozen=True)
class Column:
    title: str
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """`total` is how many rows there are to show, of which `rows` may be the first few.

    `as_text` are the rows as sentences, for a channel that has no columns. `shares` are the columns' widths in percent,
    for channels that need them.
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: int
    empty: str = "Nothing to show."
    kind: str = "table"
    as_text: tuple[str, ...] = ()
    shares: tuple[float, ...] = ()

    @property
    def left_out(self) -> str:
        shown = len(self.rows)
        return "" if shown == self.total else f"{shown:,} of {self.total:,} shown; the CSV and JSON exports have all."


@dataclass(frozen=True)
class FindingBlock:
    """One bottleneck: `where` in short, `hotspots` in full."""

    title: str
    text: str
    tone: str
    severity: str
    where: str
    hotspots: Table | None = None

    @property
    def mark(self) -> str:
        return MARKS[self.tone]


@dataclass(frozen=True)
class Action:
    """One recommendation and what became of it. `decide` says how to decide on it, with the address `link` if any."""

    title: str
    text: str
    tone: str
    status: str
    facts: str
    moves: tuple[str, ...] = ()
    note: str = ""
    score: str = ""
    decide: str = ""
    link: str = ""

    @property
    def mark(self) -> str:
        return MARKS[self.tone]


@dataclass(frozen=True)
class Tiles:
    tiles: tuple[Tile, ...]
    kind: str = "tiles"


@dataclass(frozen=True)
class Findings:
    findings: tuple[FindingBlock, ...]
    kind: str = "findings"


@dataclass(frozen=True)
class Actions:
    actions: tuple[Action, ...]
    kind: str = "actions"


@dataclass(frozen=True)
class Text:
    """A paragraph; with the tone "unknown" it is an empty state."""

    text: str
    tone: str = "plain"
    kind: str = "text"

    @property
    def mark(self) -> str:
        return MARKS[self.tone]


@dataclass(frozen=True)
class Notes:
    notes: tuple[str, ...]
    kind: str = "notes"


class _Named(Protocol):
    @property
    def name(self) -> str: ...


Rendered = TypeVar("Rendered", bound=_Named)


@dataclass(frozen=True)
class ChartsHere:
    """Where the charts of some names stand; each channel draws them its way."""

    names: tuple[str, ...]
    kind: str = "charts"

    def of(self, rendered: Iterable[Rendered]) -> list[Rendered]:
        """Those of the drawn charts that stand here."""
        return [chart for chart in rendered if chart.name in self.names]


Block = Tiles | Table | Findings | Actions | Text | Notes | ChartsHere


@dataclass(frozen=True)
class Section:
    anchor: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class View:
    """A report as blocks. `facts` are label and text pairs about the report itself."""

    title: str
    period: str
    headline: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]

    def tiles(self) -> tuple[Tile, ...]:
        return tuple(tile for block in self._blocks() if isinstance(block, Tiles) for tile in block.tiles)

    def table(self, name: str) -> Table | None:
        tables = (block for block in self._blocks() if isinstance(block, Table))
        return next((table for table in tables if table.name == name), None)

    def charts(self, rendered: Iterable[Rendered]) -> tuple[Rendered, ...]:
        """Those of the drawn charts that stand somewhere in the report."""
        chart_blocks = [block for block in self._blocks() if isinstance(block, ChartsHere)]
        return tuple(chart for chart in rendered if any(chart.name in hotspot.names for hotspot in chart_blocks))

    def section(self, anchor: str) -> Section | None:
        return next((section for section in self.sections if section.anchor == anchor), None)

    def _blocks(self) -> list[Block]:
        return [block for section in self.sections for block in section.blocks]


def table(
    name: str,
    title: str,
    columns: str,
    rows: Sequence[tuple[Cell, ...]],
    *,
    empty: str = "Nothing to show.",
    as_text: Sequence[str] = (),
) -> Table:
    """A table from column titles parted by "|"; a leading "<" makes a column one of words."""
    titles = tuple(
        Column(text.strip().removeprefix("<"), not text.strip().startswith("<")) for text in columns.split("|")
    )
    return Table(name, title, titles, tuple(rows), len(rows), empty, as_text=tuple(as_text))


def capped(view: View, rows: int) -> View:
    """The view with at most `rows` rows in each table; the tables say what was left out."""

    def cap(block: Block) -> Block:
        return (
            replace(block, rows=block.rows[:rows], as_text=block.as_text[:rows]) if isinstance(block, Table) else block
        )

    sections = tuple(replace(section, blocks=tuple(map(cap, section.blocks))) for section in view.sections)
    return replace(view, sections=sections)
