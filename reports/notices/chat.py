"""A notice as Slack, Microsoft Teams and Discord take it, within the limits that each of them sets.

Names come from data, so nothing in them is taken for markup, a link or a call on everybody in the channel.
"""

from __future__ import annotations

import json
import re
from typing import Any

from reports.notices.notice import COLOURS, LINK_TEXT, Notice, cut, fitting, more_text

SLACK_BLOCKS, SLACK_SECTION, SLACK_HEADER, SLACK_TEXT = 50, 3_000, 150, 4_000
TEAMS_BYTES = 28_000
DISCORD_CONTENT, DISCORD_TITLE, DISCORD_DESCRIPTION, DISCORD_FOOTER, DISCORD_EMBED = 2_000, 256, 4_096, 2_048, 6_000

MOST_ITEMS = 20
"""What somebody reads in a chat; the message says how many more there are."""

_TEAMS_COLOURS = {"good": "Good", "off": "Warning", "warning": "Warning", "critical": "Attention"}
_TEAMS_ROOM = 1_000


def render_slack(notice: Notice) -> bytes:
    """Blocks, and as their fallback the whole as text, which is all that services compatible with Slack show."""
    sections = [_section(cut(item.line, SLACK_SECTION // 5)) for item in notice.remaining_items[:MOST_ITEMS]]
    left_out = more_text(notice.left_out(len(sections)))
    link = [_section_of(f"<{notice.link}|{LINK_TEXT}>")] if notice.link else []
    small = " · ".join(part for part in (left_out, notice.hint, notice.footer) if part)
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": _slack(_title(notice), SLACK_HEADER), "emoji": False},
        },
        _section(notice.headline),
        *sections,
        *link,
        {"type": "context", "elements": [_mrkdwn(_slack(small, SLACK_SECTION))]},
    ]
    return _json({"text": _slack_text(notice), "blocks": blocks[:SLACK_BLOCKS], "unfurl_links": False})


def render_teams(notice: Notice) -> bytes:
    """An Adaptive Card in the envelope that Workflows take. Data stands in text runs, which know no markup."""
    items = list(notice.remaining_items)
    body = _json(_teams(notice, items[:MOST_ITEMS]))
    while len(body) > TEAMS_BYTES - _TEAMS_ROOM and items:
        items = items[: min(len(items), MOST_ITEMS) // 2]
        body = _json(_teams(notice, items))
    return body


def render_discord(notice: Notice) -> bytes:
    """One embed; nobody is mentioned, whatever a name says."""
    title = _discord(_title(notice), DISCORD_TITLE)
    tail = [line for line in (_discord(notice.hint, DISCORD_TITLE), _discord_link(notice)) if line]
    headline = _discord(notice.headline, DISCORD_CONTENT // 2)
    footer = cut(notice.footer, DISCORD_TITLE)
    room = DISCORD_DESCRIPTION - len(headline) - sum(len(line) + 1 for line in tail) - 1
    lines = [_discord(item.line, DISCORD_CONTENT // 5) for item in notice.remaining_items]
    kept = fitting(lines, min(room, DISCORD_EMBED - DISCORD_DESCRIPTION // 2), notice.not_listed)
    left_out = notice.left_out(len(kept))
    description = "\n".join([headline, *kept, *([more_text(left_out)] if left_out else []), *tail])
    embed = {
        "title": title,
        "description": description,
        "color": int(COLOURS.get(notice.tone, COLOURS["unknown"])[1:], 16),
        "footer": {"text": footer},
    }
    return _json({"embeds": [embed], "allowed_mentions": {"parse": []}})


# ----------------------------------------------------------------------------------------------------------------------


def _title(notice: Notice) -> str:
    return " ".join(part for part in (notice.mark, notice.title) if part)


def _json(content: object) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


# --- Slack ------------------------------------------------------------------------------------------------------------


def _slack(text: str, most: int) -> str:
    """Escaped as Slack asks, and no longer than `most` with that; an escape is not cut in two."""
    pieces: list[str] = []
    length = 0
    for piece in (text.replace("&", "\0&amp;\0").replace("<", "\0&lt;\0").replace(">", "\0&gt;\0")).split("\0"):
        characters = [piece] if piece.startswith("&") else list(piece)
        for character in characters:
            length += len(character)
            if length > most - 1:
                return "".join(pieces).rstrip() + "…"
            pieces.append(character)
    return "".join(pieces)


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _section_of(mrkdwn: str) -> dict[str, Any]:
    return {"type": "section", "text": _mrkdwn(mrkdwn)}


def _section(text: str) -> dict[str, Any]:
    return _section_of(_slack(text, SLACK_SECTION))


def _slack_text(notice: Notice) -> str:
    head = [_slack(f"{notice.mark} {notice.headline}".strip(), SLACK_TEXT // 4)]
    tail = [_slack(line, SLACK_TEXT // 8) for line in (notice.hint, notice.footer) if line]
    tail = ([f"<{notice.link}|{LINK_TEXT}>"] if notice.link else []) + tail
    lines = [_slack(item.line, SLACK_TEXT // 8) for item in notice.remaining_items[:MOST_ITEMS]]
    room = SLACK_TEXT - sum(len(line) + 1 for line in (*head, *tail)) - 1
    kept = fitting(lines, room, notice.left_out(len(lines)))
    left_out = notice.left_out(len(kept))
    return "\n".join([*head, *kept, *([more_text(left_out)] if left_out else []), *tail])


# --- Teams ------------------------------------------------------------------------------------------------------------


def _run(text: str, **style: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}


def _teams(notice: Notice, items: list[Any]) -> dict[str, Any]:
    left_out = more_text(notice.left_out(len(items)))
    colour = _TEAMS_COLOURS.get(notice.tone, "Default")
    small = [
        _run(cut(text, 1_000), size="Small", isSubtle=True) for text in (left_out, notice.hint, notice.footer) if text
    ]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "fallbackText": cut(notice.headline, 1_000),
        "msteams": {"width": "Full"},
        "body": [
            _run(cut(_title(notice), 200), size="Medium", weight="Bolder", color=colour),
            _run(cut(notice.headline, 2_000)),
            *(_run(cut(item.line, 600), color=_TEAMS_COLOURS.get(item.tone, "Default")) for item in items),
            *small,
        ],
    }
    if notice.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": LINK_TEXT, "url": notice.link}]
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


# --- Discord ----------------------------------------------------------------------------------------------------------

_DISCORD_MARKUP = re.compile(r"([\\*_~`|>\[\]#@<])")


def _discord(text: str, most: int) -> str:
    escaped = _DISCORD_MARKUP.sub(r"\\\1", text)
    if len(escaped) <= most:
        return escaped
    short = escaped[: most - 1]
    # Not in the middle of an escape.
    return short[: len(short) - (len(short) - len(short.rstrip("\\"))) % 2] + "…"


def _discord_link(notice: Notice) -> str:
    return f"[{LINK_TEXT}]({notice.link})" if notice.link else ""
