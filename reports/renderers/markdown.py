"""The report in Markdown: short, for the page of a run."""

from __future__ import annotations

import re

from models.documents import Document
from reports.report_templates.view import view_of
from reports.text.labels import sentence
from reports.text.unicode_names import readable
from reports.view.blocks import Action, Actions, Findings, Notes, Section, Table, Text, Tile, Tiles, capped

MARKDOWN_MOST_ROWS = 50
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def render_markdown(document: Document, files: str = "") -> str:
    """Headline, numbers, what was found, what was done, models and notes; names cannot bring markup in.

    `files` is Markdown that says where the report's files are, and stands below the headline.
    """
    document = readable(document)
    view = capped(view_of(document), MARKDOWN_MOST_ROWS)
    parts = [f"# {escaped(view.title)}", escaped(view.period), f"**{escaped(view.headline)}**", files]
    for section in view.sections:
        if section.anchor != "charts":
            parts += [f"## {escaped(section.title)}", *_blocks(section)]
    return "\n\n".join(part for part in parts if part) + "\n"


def escaped(text: str) -> str:
    """A text with nothing in it that Markdown or HTML would act on."""
    entities = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return " ".join(_SPECIAL.sub(r"\\\1", entities).split())


def _blocks(section: Section) -> list[str]:
    parts: list[str] = []
    for block in section.blocks:
        match block:
            case Tiles():
                parts.append(_tiles(block.tiles))
            case Table():
                parts.append(_table(block))
            case Findings():
                parts += [
                    f"- **{escaped(it.title)}** ({it.severity}): {escaped(it.text)}{_where(it.where)}"
                    for it in block.findings
                ]
            case Actions():
                parts += [
                    f"- **{escaped(it.title)}** ({it.status}): {escaped(_action_text(it))}{_decide(it)}"
                    for it in block.actions
                ]
            case Text():
                parts.append(escaped(block.text))
            case Notes():
                parts.append("\n".join(f"- {escaped(note)}" for note in block.notes))
    return parts


def _action_text(action: Action) -> str:
    return " ".join(filter(None, (action.text, sentence("; ".join(action.moves)), action.note)))


def _decide(action: Action) -> str:
    if action.link:
        return f" [{escaped(action.decide)}](<{action.link}>)"
    return f" {escaped(action.decide)}." if action.decide else ""


def _where(where: str) -> str:
    return f" Where: {escaped(where)}." if where else ""


def _tiles(tiles: tuple[Tile, ...]) -> str:
    rows: list[tuple[str, ...]] = [
        (tile.label, tile.value, f"{tile.mark} {tile.state}".strip(), tile.change, tile.note) for tile in tiles
    ]
    return _lines(("Number", "Value", "State", "Change", "Known"), "lrlll", rows)


def _table(table: Table) -> str:
    if not table.rows:
        return escaped(table.empty)
    align = "".join("r" if column.numeric else "l" for column in table.columns)
    rows = [tuple(cell.text for cell in row) for row in table.rows]
    lines = _lines(tuple(column.title for column in table.columns), align, rows)
    left_out = f"\n\n{escaped(table.left_out)}" if table.left_out else ""
    return f"**{escaped(table.title)}**\n\n{lines}{left_out}"


def _lines(titles: tuple[str, ...], align: str, rows: list[tuple[str, ...]]) -> str:
    rule = tuple("---:" if side == "r" else ":---" for side in align)
    body = [tuple(map(escaped, row)) for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in (tuple(map(escaped, titles)), rule, *body))
