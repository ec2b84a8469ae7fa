"""The book of alerts: what is on record of each, and how looks move it. But for reading and writing rows, pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, delete, insert, or_, select, update

from models.kpis import KPIS
from models.notifications import AlertEvent, AlertNews, AlertRule
from models.schema import ALERT
from models.settings import Alerting
from tasks.alerts.grouping import Rhythm, Silence, is_silenced, is_time, untold
from tasks.alerts.lifecycle import AlertState, Life, Look, Policy, step
from tasks.alerts.limits import Finding, unknown

AT_ONCE = frozenset({AlertRule.SLOW_SELECTIONS, AlertRule.NO_DATA, AlertRule.BUDGET_USED, AlertRule.BUDGET_PROJECTED,
                     AlertRule.FAILED_FLOW})  # fmt: skip
"""Rules that a single look decides: they say themselves how long something lasted."""

RARELY = frozenset({AlertRule.BUDGET_USED, AlertRule.BUDGET_PROJECTED})
"""Rules whose firing says all there is to say: nobody is reminded."""

NOT_BY_LOOKS = frozenset({AlertRule.FAILED_FLOW, AlertRule.BUDGET_USED, AlertRule.BUDGET_PROJECTED})
"""Rules that no window is looked at for: that one has no finding tells nothing."""

Key = tuple[AlertRule, str]


@dataclass(frozen=True)
class Entry:
    """One life of an alert with the numbers of its newest look; `id` is None until it is stored."""

    id: int | None
    life: Life
    finding: Finding

    @property
    def key(self) -> Key:
        return self.finding.rule, self.finding.subject


@dataclass
class Book:
    """The newest life of each alert, and those that ended while they were in the book."""

    entries: dict[Key, Entry] = field(default_factory=dict)
    ended: list[Entry] = field(default_factory=list)
    forgotten: list[int] = field(default_factory=list)
    """Ids of what was pending and came to nothing."""
    stored: dict[int, Entry] = field(default_factory=dict)
    """What the table has, by id: only what differs from it is written."""

    def look(self, at: datetime, findings: Iterable[Finding], alerting: Alerting, *, at_all: bool = True) -> None:
        """Move alerts by what was found. Where all was looked `at_all`, one that was not found has no data."""
        found = {(finding.rule, finding.subject): finding for finding in findings}
        missing = [
            unknown(at, *key)
            for key, entry in self.entries.items()
            if at_all and key not in found and key[0] not in NOT_BY_LOOKS and not entry.life.is_over
        ]
        for finding in (*found.values(), *missing):
            self._move(finding, policy_of(finding.rule, alerting))

    def news(self) -> list[Entry]:
        """What nobody was told of yet: critical first, then by when it fired."""
        new = [entry for entry in (*self.ended, *self.entries.values()) if entry.life.news is not None]
        return sorted(new, key=lambda entry: (entry.life.severity != "critical", entry.life.fired_at, entry.key))

    def tell(self, at: datetime, told_at: datetime | None, silences: list[Silence], rhythm: Rhythm) -> list[Entry]:
        """The news whose time has come, now told; nothing where it is not time yet."""
        self._each(
            lambda entry: replace(entry, life=untold(entry.life, silenced=is_silenced(silences, *entry.key, at)))
        )
        news = self.news()
        if not is_time((entry.life for entry in news), told_at, at, rhythm):
            return []
        self._each(lambda entry: replace(entry, life=entry.life.told(at)) if entry.life.news else entry)
        return news

    def firing(self) -> list[Entry]:
        """What fires, or did when it was last known."""
        firing = (AlertState.FIRING, AlertState.NO_DATA)
        return [entry for entry in self.entries.values() if entry.life.state in firing]

    def _move(self, finding: Finding, policy: Policy) -> None:
        key = finding.rule, finding.subject
        before = self.entries.get(key)
        life = step(before.life if before else None, finding.look, policy)
        if life is None:
            if before is not None:
                del self.entries[key]
                self.forgotten += [before.id] if before.id is not None else []
            return
        if before is None or (before.life.is_over and not life.is_over):
            if before is not None:
                self.ended.append(before)
            self.entries[key] = Entry(None, life, finding)
        elif not before.life.is_over:
            self.entries[key] = Entry(before.id, life, _numbers(before.finding, finding, life))

    def _each(self, change: Callable[[Entry], Entry]) -> None:
        self.ended = [change(entry) for entry in self.ended]
        self.entries = {key: change(entry) for key, entry in self.entries.items()}


def policy_of(rule: AlertRule, alerting: Alerting) -> Policy:
    """How an alert of a rule lives, by the settings."""
    remind = None if alerting.remind_hours is None or rule in RARELY else timedelta(hours=alerting.remind_hours)
    return Policy(
        hold=timedelta() if rule in AT_ONCE else timedelta(minutes=alerting.hold_minutes),
        resolve=timedelta() if rule in AT_ONCE - {AlertRule.SLOW_SELECTIONS} else timedelta(
            minutes=alerting.resolve_minutes
        ),
        cool_down=timedelta(minutes=alerting.cool_down_minutes),
        remind=remind,
    )  # fmt: skip


def rhythm_of(alerting: Alerting) -> Rhythm:
    """How messages follow one another, by the settings."""
    return Rhythm(timedelta(minutes=alerting.group_wait_minutes), timedelta(minutes=alerting.group_interval_minutes))


def news_of(entry: Entry, window_minutes: int) -> AlertNews:
    """An alert that has news, as it is told; it is stored and has fired."""
    life, finding = entry.life, entry.finding
    assert entry.id is not None  # noqa: S101 - what is told is stored in the same transaction, before
    assert life.fired_at is not None and life.news is not None  # noqa: S101, PT018 - what is pending has no news
    kpi = next((kpi for name, kpi in KPIS.items() if name.value == finding.rule.value), None)
    windows = kpi.alert_windows if kpi else 1
    return AlertNews(
        alert_id=entry.id, event=life.news, rule=finding.rule, subject=finding.subject, severity=life.severity,
        value=finding.value, threshold=finding.threshold, sample=finding.sample, learned=finding.learned,
        started_at=life.started_at, fired_at=life.fired_at, resolved_at=life.resolved_at, detail=finding.detail,
        window_minutes=window_minutes * windows if windows > 1 else None,
    )  # fmt: skip


def record_event(
    connection: Connection,
    rule: AlertRule,
    subject: str,
    detail: str,
    *,
    sample: int | None,
    started_at: datetime,
    at: datetime,
) -> None:
    """Put on record what is over as soon as it fires, within the caller's transaction; and told with the next news."""
    connection.execute(
        insert(ALERT).values(
            rule=rule.value,
            subject=subject,
            severity="warning",
            state=AlertState.RESOLVED.value,
            detail=detail,
            news=AlertEvent.FIRED.value,
            news_since=at,
            sample=sample,
            started_at=started_at,
            fired_at=at,
            resolved_at=at,
        )
    )


# --- rows -------------------------------------------------------------------------------------------------------------


def read_book(connection: Connection, since: datetime) -> Book:
    """Every alert that is not over, the newest of those that resolved after `since`, and any that has news."""
    wanted = or_(ALERT.c.resolved_at.is_(None), ALERT.c.resolved_at >= since, ALERT.c.news.is_not(None))
    book = Book()
    for row in connection.execute(select(ALERT).where(wanted).order_by(ALERT.c.id)):
        entry = book.stored[row.id] = _entry(dict(row._mapping))
        before = book.entries.get(entry.key)
        if before is not None:
            book.ended.append(before)
        book.entries[entry.key] = entry
    return book


def write_book(connection: Connection, book: Book) -> None:
    """Store what has changed since the book was read or written; every entry of it has an id then."""
    if book.forgotten:
        connection.execute(delete(ALERT).where(ALERT.c.id.in_(book.forgotten)))
        book.forgotten.clear()
    book.ended = [_stored(connection, entry, book.stored) for entry in book.ended]
    book.entries = {key: _stored(connection, entry, book.stored) for key, entry in book.entries.items()}
    book.stored = {entry.id: entry for entry in (*book.ended, *book.entries.values()) if entry.id is not None}


def _stored(connection: Connection, entry: Entry, stored: Mapping[int, Entry]) -> Entry:
    if entry.id is None:
        new = connection.execute(ALERT.insert().values(_row(entry)).returning(ALERT.c.id)).scalar_one()
        return replace(entry, id=new)
    if stored.get(entry.id) != entry:
        connection.execute(update(ALERT).where(ALERT.c.id == entry.id).values(_row(entry)))
    return entry


def _row(entry: Entry) -> dict[str, Any]:
    life, finding = entry.life, entry.finding
    return {
        "rule": finding.rule.value, "subject": finding.subject, "value": finding.value, "threshold": finding.threshold,
        "sample": finding.sample, "learned": finding.learned, "detail": finding.detail,
    } | {item.name: _plain(getattr(life, item.name)) for item in fields(life)}  # fmt: skip


def _entry(row: Mapping[str, Any]) -> Entry:
    life = {item.name: row[item.name] for item in fields(Life)}
    life |= {"state": AlertState(row["state"]), "news": AlertEvent(row["news"]) if row["news"] else None}
    look = Look(row["started_at"], None, is_well=False)
    finding = Finding(
        AlertRule(row["rule"]), row["subject"], look, row["value"], row["threshold"], row["sample"], row["learned"],
        row["detail"],
    )  # fmt: skip
    return Entry(row["id"], Life(**life), finding)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value


def _numbers(before: Finding, new: Finding, life: Life) -> Finding:
    """Of what fires, those that say why: of the newest look that was as severe. Of what resolved, the value that it has
    now against the limit that it had crossed; none where it is not known.
    """
    if new.look.breach == life.severity:
        return new
    if not life.is_over:
        return before
    if life.unknown_since is not None:
        return replace(before, value=None, sample=None, detail="too few selections have come for hours to tell")
    return replace(before, value=new.value, sample=new.sample, detail=new.detail)
