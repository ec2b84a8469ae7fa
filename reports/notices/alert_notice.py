"""The words for what happened to alerts and deliveries: one sentence each, the same in every channel."""

from __future__ import annotations

from datetime import timedelta

from models.notifications import (
    AlertEvent,
    AlertGroup,
    AlertMessage,
    AlertNotification,
    AlertRule,
    DeadLetter,
    DeadLetters,
    Message,
)
from models.text_direction import kept_to_itself
from reports.notices.notice import Item, Notice, cut
from reports.text.alerts import KPI_RULE_LABELS, amount, rule_label
from reports.text.formatting import Formats

_OPENINGS = {AlertEvent.FIRED: "{}", AlertEvent.ESCALATED: "now {}", AlertEvent.REMINDED: "still {}"}

_LONGEST_NAME = 80
_MINUTE = timedelta(minutes=1)
_MINUTES_PER_HOUR = 60


def notice_of(message: Message) -> Notice:
    """What is shown of a message."""
    show = Formats(message.locale, message.zone)
    footer = f"Routewatch · {show.instant(message.at)}"
    if isinstance(message, AlertMessage):
        return _alerts(message, show, footer)
    if isinstance(message, DeadLetters):
        return _dead(message, footer)
    text = "This is a sample: what Routewatch has to say arrives here."
    return Notice("Sample", "good", "sample", text, (), "Somebody asked for it; nothing is the matter.", footer)


def alert_sentence(alert: AlertNotification, message: AlertMessage) -> str:
    """One alert's news: what, how much against which limit, over how many selections, since when."""
    sentence = _sentence(alert, message, Formats(message.locale, message.zone))
    return sentence[0].upper() + sentence[1:]


def dead_sentence(delivery: DeadLetter) -> str:
    """Return a dead letter's content, recipient, number of attempts, and last response."""
    attempts = f"{delivery.attempts:,} {'attempt' if delivery.attempts == 1 else 'attempts'}"
    what, answer = _name(delivery.what), kept_to_itself(delivery.answer) or "no answer"
    return (
        f"No. {delivery.delivery_id}, {what} to {delivery.recipient} ({delivery.channel}), after {attempts}: {answer}"
    )


# --- alerts -----------------------------------------------------------------------------------------------------------


def _alerts(message: AlertMessage, show: Formats, footer: str) -> Notice:
    items = tuple(_item(alert, message) for alert in message.notifications)
    others = len(items) - 1 + message.not_listed
    headline = items[0].text + (f", and {others:,} more {'alert' if others == 1 else 'alerts'}" if others else "")
    hints = []
    if message.not_listed:
        hints.append("`routewatch alerts list` shows those that are open.")
    if message.still_firing:
        verb = "alert is" if message.still_firing == 1 else "alerts are"
        hints.append(f"{show.count(message.still_firing)} {'other ' if items else ''}{verb} still firing.")
    is_resolved = all(item.word == "resolved" for item in items) and not message.not_listed
    groups = tuple(_group(group, show) for group in message.groups)
    first, title = items[0], "Resolved" if is_resolved else "Alert"
    if groups:
        # The headline has the first one.
        items = groups + (items if first.note else items[1:])
    hint = " ".join(hints)
    return Notice(title, first.tone, first.word, headline, items, hint, footer, not_listed=message.not_listed)


def _group(group: AlertGroup, show: Formats) -> Item:
    """How many alerts are alike, and of which models or flows the first of them are."""
    is_resolved = group.event is AlertEvent.RESOLVED
    tone, word = ("good", "resolved") if is_resolved else (group.severity, str(group.severity))
    opening = "resolved: " if is_resolved else f"{_OPENINGS[group.event].format(group.severity)}: "
    count = f"{show.count(group.count)} {'alert' if group.count == 1 else 'alerts'} of {rule_label(group.rule)}"
    names = [_name(subject) for subject in group.examples]
    if names and group.count > len(names):
        names.append(f"{show.count(group.count - len(names))} more")
    sentence = opening + count + (f": {', '.join(names)}" if names else "")
    return Item(tone, word, sentence[0].upper() + sentence[1:])


def _item(alert: AlertNotification, message: AlertMessage) -> Item:
    is_resolved = alert.event is AlertEvent.RESOLVED
    tone, word = ("good", "resolved") if is_resolved else (alert.severity, str(alert.severity))
    if is_resolved and alert.value is None and alert.rule in KPI_RULE_LABELS:
        tone, word = "unknown", "no data"
    return Item(tone, word, alert_sentence(alert, message), "" if _is_budget(alert) else kept_to_itself(alert.detail))


def _sentence(alert: AlertNotification, message: AlertMessage, show: Formats) -> str:
    if alert.event is AlertEvent.RESOLVED:
        return f"resolved: {_well_again(alert, show)}, after {_duration(alert)}"
    opening = _OPENINGS[alert.event].format(alert.severity)
    if alert.rule in (AlertRule.OPTIMIZATION_REVERTED, AlertRule.ROLLOUT_WAITS, AlertRule.TIMES_AHEAD):
        return f"{opening}: {_state(alert, show)}"
    return f"{opening}: {_state(alert, show)}{_over(alert, message, show)}, since {_since(alert, message, show)}"


_OWN_WORDS = {
    AlertRule.FAILED_FLOW: ("the flow {} failed", "the flow {} succeeded again"),
    AlertRule.OPTIMIZATION_REVERTED: ("optimization {} was taken back", "optimization {} is taken back"),
    AlertRule.ROLLOUT_WAITS: ("the rollout {} waits for a person", "the rollout {} waits no longer"),
    AlertRule.COUNTING_STALLED: ("selections are not counted, and KPIs are not judged", "selections are counted again"),
    AlertRule.TIMES_AHEAD: (
        "stored times lay ahead of the clock, and were set back", "stored times are no longer ahead of the clock",
    ),
}  # fmt: skip
"""Of rules without a value: when an alert begins, and when it is over. The name is of its subject."""


def _state(alert: AlertNotification, show: Formats) -> str:
    """What is the matter, with the value and its limit."""
    limit, name = _limit(alert, show), _name(alert.subject)
    match alert.rule:
        case AlertRule.SLOW_SELECTIONS:
            return f"a selection{f' of {name}' if name else ''} took {amount(alert.rule, alert.value, show)}{limit}"
        case AlertRule.NO_DATA:
            return f"no selections{f' of {name}' if name else ''} for {amount(alert.rule, alert.value, show)}{limit}"
        case AlertRule.ROWS_NOT_COUNTED:
            return f"{amount(alert.rule, alert.value, show)} of the rows are rejected or set aside{limit}"
    if alert.rule in _OWN_WORDS:
        return _OWN_WORDS[alert.rule][0].format(name)
    return f"{_what(alert)} is {amount(alert.rule, alert.value, show)}{limit}"


def _well_again(alert: AlertNotification, show: Formats) -> str:
    limit, name = _limit(alert, show), _name(alert.subject)
    of = f" of {name}" if name else ""
    match alert.rule:
        case AlertRule.SLOW_SELECTIONS:
            return f"selections{of} are within the limit again{limit}"
        case AlertRule.NO_DATA:
            return f"selections{of} are recorded again"
        case AlertRule.ROWS_NOT_COUNTED:
            return "hardly any rows are rejected or set aside any more"
    if alert.rule in _OWN_WORDS:
        return _OWN_WORDS[alert.rule][1].format(name)
    if alert.value is None:
        return f"nothing more is known of {_what(alert)}{limit}"
    return f"{_what(alert)} is {amount(alert.rule, alert.value, show)}{limit}"


def _what(alert: AlertNotification) -> str:
    if _is_budget(alert):
        what = "spend" if alert.rule is AlertRule.BUDGET_USED else "projected spend"
        detail = kept_to_itself(alert.detail)
        return f"{what} {detail}{',' if ',' in detail else ''}" if detail else f"{what} of the month"
    label = KPI_RULE_LABELS[alert.rule]
    return f"{label} of {_name(alert.subject)}" if alert.subject else f"{label} over all models"


def _limit(alert: AlertNotification, show: Formats) -> str:
    if alert.threshold is None:
        return ""
    return f" ({'learned ' if alert.learned else ''}limit {amount(alert.rule, alert.threshold, show)})"


def _over(alert: AlertNotification, message: AlertMessage, show: Formats) -> str:
    if alert.sample is None or alert.rule not in {*KPI_RULE_LABELS, AlertRule.SLOW_SELECTIONS}:
        return ""
    selections = "selection" if alert.sample == 1 else "selections"
    verb = "among" if alert.rule is AlertRule.SLOW_SELECTIONS else "over"
    return (
        f", {verb} {show.count(alert.sample)} {selections} in {alert.window_minutes or message.window_minutes} minutes"
    )


def _since(alert: AlertNotification, message: AlertMessage, show: Formats) -> str:
    same_day = show.local(alert.started_at).date() == show.local(message.at).date()
    return show.clock(alert.started_at) if same_day else show.instant(alert.started_at)


def _duration(alert: AlertNotification) -> str:
    minutes = max(1, round(((alert.resolved_at or alert.fired_at) - alert.started_at) / _MINUTE))
    hours, rest = divmod(minutes, _MINUTES_PER_HOUR)
    return f"{hours} h {rest} min" if hours else f"{rest} min"


def _is_budget(alert: AlertNotification) -> bool:
    return alert.rule in (AlertRule.BUDGET_USED, AlertRule.BUDGET_PROJECTED)


def _name(text: str) -> str:
    return kept_to_itself(cut(" ".join(text.split()), _LONGEST_NAME)) if text else ""


# --- deliveries -------------------------------------------------------------------------------------------------------


def _dead(message: DeadLetters, footer: str) -> Notice:
    items = tuple(Item("critical", "given up", dead_sentence(it)) for it in message.deliveries)
    count = len(items)
    headline = f"{count:,} {'delivery was' if count == 1 else 'deliveries were'} given up"
    hint = "To send one again: routewatch deliveries retry ID; all of them: routewatch deliveries retry --all-dead."
    return Notice("Deliveries given up", "critical", "given up", headline, items, hint, footer)
