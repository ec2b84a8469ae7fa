"""A message has the same content in every channel, within each one's limits, and names are never markup."""

from __future__ import annotations

import json
import logging
from email import message_from_bytes
from email.policy import default
from typing import Any

import pytest

from models.notifications import AlertEvent, AlertRule, Message
from reports.notices.alert_notice import notice_of
from reports.notices.chat import (
    DISCORD_DESCRIPTION,
    DISCORD_EMBED,
    DISCORD_FOOTER,
    DISCORD_TITLE,
    SLACK_BLOCKS,
    SLACK_HEADER,
    SLACK_SECTION,
    SLACK_TEXT,
    TEAMS_BYTES,
    render_discord,
    render_slack,
    render_teams,
)
from reports.notices.email import render_notice_mail
from reports.notices.mime import build_message_mail
from reports.notices.report_notice import notice_of_report
from reports.notices.webhook_payload import MESSAGE_MOST_BYTES, render_message_json
from reports.renderers.email import EMAIL_MOST_BYTES as MOST_MAIL_BYTES
from tasks.delivery.sender import log_notice
from tests.support import documents, messages
from tests.support.golden_files import compared

MESSAGES: dict[str, Message] = {
    "alert": messages.alerts(),
    "alerts": messages.several(),
    "resolved": messages.resolved(),
    "dead": messages.dead(),
    "sample": messages.sample(),
}
NASTY = "<!channel> @everyone [a](https://evil.example) *_~`|&"

each_message = pytest.mark.parametrize("name", MESSAGES)


def pretty(body: bytes) -> str:
    return json.dumps(json.loads(body), indent=1, ensure_ascii=False) + "\n"


def texts_of(part: Any) -> list[str]:
    """Return every text in a piece of JSON."""
    if isinstance(part, str):
        return [part]
    parts = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    return [text for inner in parts for text in texts_of(inner)]


# --- the same message in every channel --------------------------------------------------------------------------------


@each_message
def test_slack_gets_blocks_and_the_whole_as_text(name: str) -> None:
    compared(f"messages/{name}.slack.json", pretty(render_slack(notice_of(MESSAGES[name]))))


@each_message
def test_teams_gets_an_adaptive_card(name: str) -> None:
    compared(f"messages/{name}.teams.json", pretty(render_teams(notice_of(MESSAGES[name]))))


@each_message
def test_discord_gets_an_embed(name: str) -> None:
    compared(f"messages/{name}.discord.json", pretty(render_discord(notice_of(MESSAGES[name]))))


@each_message
def test_a_webhook_gets_the_fields_and_the_sentences(name: str) -> None:
    compared(f"messages/{name}.webhook.json", pretty(render_message_json(MESSAGES[name], message_id=5)))


@each_message
def test_a_mail_says_it_in_plain_text_too(name: str) -> None:
    content = render_notice_mail(notice_of(MESSAGES[name]))
    compared(f"messages/{name}.mail.txt", f"{content.subject}\n\n{content.text}")


@each_message
def test_the_log_gets_a_line_for_each_thing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "routewatch"):
        log_notice(notice_of(MESSAGES[name]))
    compared(f"messages/{name}.console.txt", "".join(f"{it.levelname} {it.getMessage()}\n" for it in caplog.records))


@pytest.mark.parametrize(
    "render", [render_slack, render_teams, render_discord], ids=lambda it: it.__name__.removeprefix("render_")
)
def test_a_report_comes_to_a_chat_as_its_headline_its_numbers_and_a_link(render: Any) -> None:
    notice = notice_of_report(documents.performance("summary"), link="https://reports.example.org/a.html")
    compared(f"messages/report.{render.__name__.removeprefix('render_')}.json", pretty(render(notice)))


# --- the texts --------------------------------------------------------------------------------------------------------


def test_a_headline_says_what_how_much_against_which_limit_and_since_when() -> None:
    assert notice_of(messages.alerts()).headline == (
        "Critical: error rate of m-large is 31.0% (limit 10.0%), over 412 selections in 15 minutes, since 1:45\u00a0PM"
    )


def test_an_alert_that_began_on_another_day_shows_its_date() -> None:
    (item, *_) = (it for it in notice_of(messages.several()).items if "spend" in it.text)
    assert "since Oct 11, 2026" in item.text


def test_every_state_has_a_label_and_a_mark_beside_its_colour() -> None:
    for message in MESSAGES.values():
        notice = notice_of(message)
        assert notice.mark
        assert notice.word
        assert all(item.mark and item.word for item in notice.items)


@pytest.mark.parametrize("rule", AlertRule)
@pytest.mark.parametrize("event", AlertEvent)
def test_every_rule_and_event_has_a_sentence_even_where_no_number_is_known(rule: AlertRule, event: AlertEvent) -> None:
    unknown = {"value": None, "threshold": None, "sample": None}
    resolved_at = messages.AT if event is AlertEvent.RESOLVED else None
    message = messages.alerts(messages.alert_notification(rule, event=event, resolved_at=resolved_at, **unknown))
    assert "None" not in notice_of(message).headline


# --- limits -----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["x", NASTY, "模型"], ids=["plain", "markup", "wide"])
def endless(request: pytest.FixtureRequest) -> Message:
    return messages.endless(request.param)


def test_slacks_limits_hold(endless: Message) -> None:
    body = json.loads(render_slack(notice_of(endless)))
    header, *sections, context = body["blocks"]
    assert len(body["text"]) <= SLACK_TEXT
    assert len(body["blocks"]) <= SLACK_BLOCKS
    assert len(header["text"]["text"]) <= SLACK_HEADER
    assert all(0 < len(section["text"]["text"]) <= SLACK_SECTION for section in sections)
    assert "and 180 more" in context["elements"][0]["text"]
    assert not any("<!" in text for text in texts_of(body))


def test_teams_limit_holds(endless: Message) -> None:
    body = render_teams(notice_of(endless))
    assert len(body) < TEAMS_BYTES
    assert any(" more" in text for text in texts_of(json.loads(body)))


def test_discords_limits_hold(endless: Message) -> None:
    body = json.loads(render_discord(notice_of(endless)))
    (embed,) = body["embeds"]
    assert len(embed["title"]) <= DISCORD_TITLE
    assert len(embed["description"]) <= DISCORD_DESCRIPTION
    assert len(embed["footer"]["text"]) <= DISCORD_FOOTER
    assert len(embed["title"] + embed["description"] + embed["footer"]["text"]) <= DISCORD_EMBED
    assert " more" in embed["description"]
    assert body["allowed_mentions"] == {"parse": []}
    assert "](http" not in embed["description"].replace("\\]", "")


def test_a_webhooks_limit_holds_and_it_says_how_many_are_omitted(endless: Message) -> None:
    body = render_message_json(endless, message_id=5)
    data = json.loads(body)["data"]
    assert len(body) < MESSAGE_MOST_BYTES
    assert data["leftOut"] == 200 - len(data["news"]) > 0


def test_a_mails_limit_holds_and_its_subject_is_one_line(endless: Message) -> None:
    content = render_notice_mail(notice_of(endless))
    assert len(content.html.encode()) < MOST_MAIL_BYTES
    assert len(content.subject) <= 150
    assert "and 150 more" in content.text


def test_a_message_as_mail_has_both_parts_and_the_same_bytes_each_time() -> None:
    def built() -> bytes:
        return build_message_mail(
            messages.several(), message_id=5, sender="R <r@example.org>", recipient="a@b.c", date=messages.AT
        )

    mail = message_from_bytes(built(), policy=default)
    assert built() == built()
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    assert mail["Auto-Submitted"] == "auto-generated"
    assert "Critical" in mail["Subject"]
