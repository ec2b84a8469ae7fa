"""A message as the body of a webhook: the fields as they are, and the same sentences that people read."""

from __future__ import annotations

import json
from typing import Any

from models.notifications import AlertMessage, AlertNotification, DeadLetter, DeadLetters, Message
from models.text_direction import with_directions_escaped
from reports.notices.alert_notice import alert_sentence, dead_sentence, notice_of
from reports.notices.notice import cut

MESSAGE_MOST_BYTES = 20_000
"""Standard Webhooks asks for payloads under 20 KB."""

_LONGEST_TEXT = 600


def render_message_json(message: Message, *, message_id: int) -> bytes:
    """A Standard Webhooks payload. Where it would grow too long, it names fewer, and `leftOut` says how many."""
    name, entries = _entries(message)
    kept = len(entries)
    while True:
        body = _body(message, message_id, name, entries[:kept], len(entries) - kept)
        if len(body) < MESSAGE_MOST_BYTES or not kept:
            return body
        kept = min(kept - 1, kept * MESSAGE_MOST_BYTES // len(body))


def type_of(message: Message) -> str:
    """The event's type: alert.fired and the like for one alert, alerts.changed for several."""
    if isinstance(message, AlertMessage):
        # A list of one is never cut.
        return f"alert.{message.notifications[0].event}" if len(message.notifications) == 1 else "alerts.changed"
    return "deliveries.dead" if isinstance(message, DeadLetters) else "sample"


# ----------------------------------------------------------------------------------------------------------------------


def _entries(message: Message) -> tuple[str, list[dict[str, Any]]]:
    """The list that may be long, with the name of its field."""
    if isinstance(message, AlertMessage):
        return "notifications", [_entry(alert, alert_sentence(alert, message)) for alert in message.notifications]
    if isinstance(message, DeadLetters):
        return "deliveries", [_entry(it, dead_sentence(it)) for it in message.deliveries]
    return "", []


def _entry(part: AlertNotification | DeadLetter, sentence: str) -> dict[str, Any]:
    return part.model_dump(mode="json", by_alias=True) | {"text": cut(sentence, _LONGEST_TEXT)}


def _body(message: Message, message_id: int, name: str, entries: list[dict[str, Any]], left_out: int) -> bytes:
    data = message.model_dump(mode="json", by_alias=True) | {"messageId": message_id}
    data["text"] = cut(notice_of(message).headline, _LONGEST_TEXT)
    if name:
        not_listed = message.not_listed if isinstance(message, AlertMessage) else 0
        data |= {name: entries, "leftOut": left_out + not_listed}
    if name == "notifications":
        # The field's former name, until the next release.
        data["news"] = entries
    payload = {"type": type_of(message), "timestamp": message.at.isoformat(), "data": data}
    text = json.dumps(payload, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return with_directions_escaped(text).encode()
