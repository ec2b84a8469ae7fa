"""Views of the live page, computed once for all viewers of the same selection."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from dashboard.render import (
    Live,
    LiveAlert,
    LiveDelivery,
    LiveOptimization,
    LiveQuarantine,
    LiveRow,
    LiveSilence,
    hashes,
    render_page,
    render_sections,
)
from dashboard.view_filter import Chosen, measured
from models.clock import true_now
from models.context import AppContext
from models.database import reading
from models.notifications import AlertRule
from models.period import Level
from models.schema import ROLLUP, ROLLUP_CHECKPOINT, UNKNOWN
from tasks.alerts.queries import baseline_progress, list_alerts
from tasks.alerts.silences import list_silences
from tasks.delivery.queries import list_deliveries
from tasks.ingestion.quarantine import count_quarantined, newest_quarantined
from tasks.optimizer.queries import label, list_optimizations

KEPT_VIEWS = 64
"""Maximum cached views of ranges, models and teams."""

MOST_OPTIMIZATIONS, MOST_DELIVERIES = 12, 20
MOST_QUARANTINED = 5
MOST_CHOICES = 300
"""Maximum models or teams in a filter list."""

ACTIONS = {"proposed": ("approve", "reject"), "applied": ("revert",), "observing": ("revert",), "kept": ("revert",)}


@dataclass(frozen=True)
class Shown:
    """A view as rendered."""

    live: Live
    sections: dict[str, str]
    hashes: dict[str, str]


@dataclass(frozen=True)
class _KeptView:
    """A view, and the start of its computation by the monotonic clock: it does not contain later data."""

    shown: Shown
    began_at: float


@dataclass
class _Slot:
    """One view; the holder of the lock computes it for all who wait."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    kept: _KeptView | None = None


class LiveViews:
    """Cached views, each computed at most twice per refresh for any number of viewers.

    The first request for a stale view waits for the new one; concurrent requests get the cached one,
    unless that is older than a full refresh.
    """

    def __init__(self, ctx: AppContext) -> None:
        self._ctx = ctx
        self._refresh_s = ctx.settings.monitoring.dashboard.refresh_rate / 1_000
        self._slots: OrderedDict[Chosen, _Slot] = OrderedDict()
        self._keeping = threading.Lock()

    def kept(self, chosen: Chosen) -> Shown | None:
        """Return the cached view if nobody needs to wait for a new one."""
        slot, now_s = self._slot(chosen), time.monotonic()
        kept = slot.kept
        if kept is None:
            return None
        oldest_s = now_s - (self._refresh_s if slot.lock.locked() else self._refresh_s / 2)
        return kept.shown if kept.began_at > oldest_s else None

    def shown(self, chosen: Chosen, *, anew: bool = False, requested_at_s: float | None = None) -> Shown:
        """Return the cached view, or a new one if requested `anew`: one that began after the request."""
        slot = self._slot(chosen)
        requested_at = time.monotonic() if requested_at_s is None else requested_at_s
        kept = None if anew else slot.kept
        if kept is not None and slot.lock.locked() and kept.began_at > requested_at - self._refresh_s:
            return kept.shown
        with slot.lock:
            if slot.kept is None or slot.kept.began_at <= (
                requested_at if anew else requested_at - self._refresh_s / 2
            ):
                began_at = time.monotonic()
                live = collect_view(self._ctx, chosen, true_now())
                sections = render_sections(live)
                slot.kept = _KeptView(Shown(live, sections, hashes(sections)), began_at)
            return slot.kept.shown

    def page(self, chosen: Chosen) -> str:
        """Return the complete page."""
        shown = self.shown(chosen)
        return render_page(shown.live, shown.sections)

    def _slot(self, chosen: Chosen) -> _Slot:
        with self._keeping:
            slot = self._slots.setdefault(chosen, _Slot())
            self._slots.move_to_end(chosen)
            while len(self._slots) > KEPT_VIEWS:
                self._slots.popitem(last=False)
            return slot


def collect_view(ctx: AppContext, chosen: Chosen, now: datetime) -> Live:
    """Collect the page's data of a range up to `now`, including the current minute."""
    _, document = measured(ctx, chosen, now)
    with reading(ctx.engine) as connection:
        counted_at = connection.scalar(select(ROLLUP_CHECKPOINT.c.rollups_updated_at))
        models, teams = _known(connection, "model_id", now), _known(connection, "team", now)
        quarantine = _quarantine(connection)
    return Live(
        document=document,
        now=min(now, counted_at or now),
        range=chosen.range,
        models=chosen.models,
        teams=chosen.teams,
        known_models=models,
        known_teams=teams,
        alerts=_alerts(ctx),
        learning=baseline_progress(ctx, now),
        silences=_silences(ctx, now),
        optimizations=_optimizations(ctx),
        deliveries=_deliveries(ctx),
        quarantine=quarantine,
        refresh_ms=ctx.settings.monitoring.dashboard.refresh_rate,
    )


# ----------------------------------------------------------------------------------------------------------------------


def _known(connection: Connection, column: str, now: datetime) -> tuple[str, ...]:
    """Return the largest models or teams of the last month, by name."""
    name = ROLLUP.c[column]
    days = ROLLUP.c.level == Level.DAY.value, ROLLUP.c.bucket >= now - timedelta(days=31), name != UNKNOWN
    largest = select(name).where(*days).group_by(name).order_by(func.sum(ROLLUP.c["count"]).desc(), name)
    return tuple(sorted(connection.execute(largest.limit(MOST_CHOICES)).scalars()))


def _alerts(ctx: AppContext) -> tuple[LiveAlert, ...]:
    return tuple(
        LiveAlert(
            row.id, AlertRule(row.rule), row.subject, row.state, row.severity, row.value, row.threshold, row.learned,
            row.started_at,
        )
        for row in list_alerts(ctx.engine)
    )  # fmt: skip


def _silences(ctx: AppContext, now: datetime) -> tuple[LiveSilence, ...]:
    rows = list_silences(ctx.engine, now)
    return tuple(LiveSilence(row.id, row.rule, row.subject, row.ends_at, row.by, row.reason) for row in rows)


def _optimizations(ctx: AppContext) -> tuple[LiveOptimization, ...]:
    """Return the optimizations: pending ones first, then the newest."""
    rows = sorted(list_optimizations(ctx.engine), key=lambda row: row.state != "proposed")
    return tuple(
        LiveOptimization(
            row.id, label(row), row.state, row.verdict["reason"] if row.verdict else "", ACTIONS.get(row.state, ())
        )
        for row in rows[:MOST_OPTIMIZATIONS]
    )


def _quarantine(connection: Connection) -> LiveQuarantine:
    """Return the quarantine's reasons and its newest rows."""
    reasons = count_quarantined(connection)
    rows = newest_quarantined(connection, MOST_QUARANTINED) if reasons else ()
    return LiveQuarantine(
        reasons,
        tuple(
            LiveRow(
                row.id, row.set_aside_at, row.entrance, str(row.content.get("model_id") or "unknown"), row.reason,
                row.due_at,
            )
            for row in rows
        ),
    )  # fmt: skip


def _deliveries(ctx: AppContext) -> tuple[LiveDelivery, ...]:
    """Return the newest deliveries, failing ones first."""
    rows = list_deliveries(ctx.engine)
    rows.sort(key=lambda row: row.state not in ("dead", "uncertain"))
    return tuple(
        LiveDelivery(row.id, row.what, row.channel, row.recipient, row.state, row.answer or "")
        for row in rows[:MOST_DELIVERIES]
    )
