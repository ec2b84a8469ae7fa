"""How wide each column of a printed table is: worked out from its texts, so that nothing can run out of its column.

Left to itself, the layout engine measures every letter of a long name, and again on each page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from reports.assets.fonts import text_em
from reports.view.blocks import Block, Cell, Findings, Table, View

_PAGE_EM = 58.0
_DENSE_FROM, _DENSE_EM = 8, 64.0
"""The page's width in heights of a printed table's letters, which are smaller from so many columns on."""

_PADDING_EM, _BAR_EM, _STATE_EM = 0.95, 3.4, 1.2
"""Beside a text: the cell's padding, a bar's room, the padding of a state and its mark."""

_TITLE_LINES = 1.8
"""Words are not halved: two lines hold less than twice what one does."""

_LONGEST_WORD_EM = 9.0
"""A longer word is broken rather than given a column as wide as itself."""

_WHOLE_NAME_EM = 13.0
"""A name at the head of a row up to this width stays in one line."""


def laid_out(view: View) -> View:
    """The view with the widths of all columns."""
    sections = (replace(section, blocks=tuple(map(_laid_out, section.blocks))) for section in view.sections)
    return replace(view, sections=tuple(sections))


def shares_of(table: Table) -> tuple[float, ...]:
    """The columns' widths in percent of the table's."""
    page_em = _DENSE_EM if len(table.columns) >= _DENSE_FROM else _PAGE_EM
    columns = list(zip(*table.rows, strict=True)) if table.rows else [()] * len(table.columns)
    whole = [_whole(table, index, cells) for index, cells in enumerate(columns)]
    least = [_least(table, index, cells) for index, cells in enumerate(columns)]
    if sum(least) > page_em:
        least = [_broken(table, index, cells) for index, cells in enumerate(columns)]
    return _shared(least, whole, page_em)


# ----------------------------------------------------------------------------------------------------------------------


def _laid_out(block: Block) -> Block:
    if isinstance(block, Table):
        return replace(block, shares=shares_of(block))
    if isinstance(block, Findings):
        findings = (
            replace(found, places=replace(found.places, shares=shares_of(found.places))) if found.places else found
            for found in block.findings
        )
        return replace(block, findings=tuple(findings))
    return block


def _shared(least: list[float], whole: list[float], page_em: float) -> tuple[float, ...]:
    """Each gets its least and its part of what is left; where there is more than enough, all of it in proportion."""
    whole = [max(pair) for pair in zip(least, whole, strict=True)]
    needed, left = sum(whole) - sum(least), page_em - sum(least)
    if left >= needed or left <= 0:
        widths = whole if left > 0 else least
    else:
        widths = [low + (high - low) * left / needed for low, high in zip(least, whole, strict=True)]
    return tuple(100 * width / sum(widths) for width in widths)


def _whole(table: Table, index: int, cells: Iterable[Cell]) -> float:
    """The width at which no cell has a second line, and no title a third."""
    title = text_em(table.columns[index].title, bold=True) / _TITLE_LINES + _PADDING_EM
    return max([title, _head(table, index), *(_cell(cell, cell.text) for cell in cells)])


def _least(table: Table, index: int, cells: Iterable[Cell]) -> float:
    """The width at which numbers and short names stay whole, and other texts break between words."""
    if table.columns[index].numeric:
        return max([_head(table, index), *(_cell(cell, cell.text) for cell in cells)])
    most = _WHOLE_NAME_EM if index == 0 else _LONGEST_WORD_EM
    return max([_head(table, index), *(min(most, _cell(cell, _longest(cell, whole=index == 0))) for cell in cells)])


def _broken(table: Table, index: int, cells: Iterable[Cell]) -> float:
    """The width at which also numbers break between words, where they would take too much of the page."""
    return max([_head(table, index), *(min(_LONGEST_WORD_EM, _cell(cell, _longest(cell))) for cell in cells)])


def _head(table: Table, index: int) -> float:
    words = table.columns[index].title.split()
    return max((text_em(word, bold=True) for word in words), default=0.0) + _PADDING_EM


def _longest(cell: Cell, *, whole: bool = False) -> str:
    """The longest part without a place to break at; all of it, where it is a name that should stay `whole`."""
    if whole or cell.tone != "plain":
        return cell.text
    return max(re.split(r"\s+|(?<=[-–/])", cell.text), key=len)


def _cell(cell: Cell, text: str) -> float:
    beside = _PADDING_EM + (_BAR_EM if cell.bar is not None else 0.0) + (_STATE_EM if cell.tone != "plain" else 0.0)
    return text_em(text, bold=cell.tone != "plain") + beside
