"""A report as a short message: its headline, the numbers at a glance, and where the whole of it is."""

from __future__ import annotations

from models.documents import Document
from reports.notices.notice import Item, Notice
from reports.report_templates.view import headline, view_of
from reports.text.decisions import link_to
from reports.text.formatting import Formats
from reports.text.unicode_names import readable
from reports.view.blocks import Tile

_WORST_FIRST = ("critical", "warning", "off", "unknown", "good")


def notice_of_report(document: Document, *, link: str = "") -> Notice:
    """What a chat shows of a report; `link` is where the whole of it can be opened, if anywhere."""
    document = readable(document)
    view = view_of(document)
    tiles = view.tiles()
    tones = {tile.tone for tile in tiles}
    tone = next((tone for tone in _WORST_FIRST if tone in tones), "unknown")
    word = next((tile.state for tile in tiles if tile.tone == tone and tile.state), "")
    footer = f"Routewatch · {Formats(document.locale, document.period.zone).instant(document.generated_at)}"
    title, items = f"{view.title}, {view.period}", tuple(map(_item, tiles))
    return Notice(title, tone, word, headline(document), items, "", footer, link_to(link))


def _item(tile: Tile) -> Item:
    state = f", {tile.state}" if tile.state else ""
    return Item(tile.tone, tile.state, f"{tile.label}: {tile.value}{state}", tile.change)
