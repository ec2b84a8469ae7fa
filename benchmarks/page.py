"""Measure how fast the page's server answers over 30 days at 50 requests a second, and whether it loses selections."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import polars as pl
from sqlalchemy import Engine, func, select

from benchmarks.databases import Kind, fill
from benchmarks.line import Goal, Line, shown
from benchmarks.page_load import Answers, Server, ask_at, client_of, page_server
from benchmarks.scene import ROLLUP_SETTINGS, Scene, address_of
from benchmarks.traffic import PERIOD, traffic
from models.database import reading
from models.tables import Selection, table_of
from tasks.rollups.update import update_rollups

SELECTION = table_of(Selection)

GOAL = Goal(50.0, at_least=False)
PER_SECOND, SECONDS = 50.0, 60.0
BATCHES_PER_SECOND, BATCH = 10.0, 200
"""2,000 selections a second."""
LOOKS_PER_SECOND = 0.1
"""An open page asks every ten seconds."""
TRICKLE_PER_SECOND = 2.0
"""Batches of one, sent beside the readers so that their answers change."""

ASKED = {
    "GET /summary, 30 days": "/summary?range=30d",
    "the live page's sections, 30 days": "/live/sections?range=30d",
}


def lines(scene: Scene) -> Iterator[Line]:
    for kind in scene.kinds:
        scene.say(f"storing {scene.rows:,} rows up to now in {kind}")
        engine = _filled_up_to_now(scene, kind)
        try:
            for name, path in ASKED.items():
                scene.say(f"{name}, {kind}")
                yield asyncio.run(_asked(scene, engine, kind, name, path))
            scene.say(f"selections by HTTP, {kind}")
            yield from asyncio.run(_sent(scene, engine, kind))
        finally:
            scene.databases(kind).drop(engine)


# ----------------------------------------------------------------------------------------------------------------------


def _filled_up_to_now(scene: Scene, kind: Kind) -> Engine:
    engine, now = scene.databases(kind).make(), datetime.now(UTC)
    shifted = pl.col("timestamp") + (now - PERIOD.end)
    fill(engine, kind, (frame.with_columns(shifted) for frame in traffic(scene.rows)))
    update_rollups(engine, ROLLUP_SETTINGS, now=now)
    return engine


async def _asked(scene: Scene, engine: Engine, kind: Kind, name: str, path: str) -> Line:
    answers, sent = Answers(), Answers()
    with page_server(address_of(engine), scene.folder / "home") as server:
        async with client_of(server) as client:
            # The first request after a start waits until its answer is computed; that is measured separately.
            first = Answers()
            await ask_at(1.0, 1.0, lambda _: client.get(path), first)
            async with asyncio.TaskGroup() as both:
                both.create_task(ask_at(PER_SECOND, SECONDS, lambda _: client.get(path), answers))
                both.create_task(ask_at(TRICKLE_PER_SECOND, SECONDS, lambda _: _send(client, 1), sent))
    note = (
        f"p50 {shown(answers.at(0.5))}, p99.9 {shown(answers.at(0.999))}, slowest {shown(answers.at(1.0))} ms of "
        f"{len(answers.took_ms):,}; the first after the start {shown(first.at(1.0))} ms; {_failures(answers, sent)}"
    )
    reported = f"{name}: p99 at {PER_SECOND:g} requests/s"
    return Line(reported, kind, scene.rows, (answers.at(0.99),), unit="ms", goal=GOAL, note=note)


async def _sent(scene: Scene, engine: Engine, kind: Kind) -> Iterator[Line]:
    sent, looked, before = Answers(), Answers(), _stored(engine)
    memory_mb: list[float] = []
    with page_server(address_of(engine), scene.folder / "home") as server:
        async with client_of(server) as client, asyncio.TaskGroup() as all_of_them:
            watching = all_of_them.create_task(_watch(server, memory_mb))
            looking = all_of_them.create_task(
                ask_at(LOOKS_PER_SECOND, SECONDS, lambda _: client.get("/live/sections?range=24h"), looked)
            )
            await ask_at(BATCHES_PER_SECOND, SECONDS, lambda _: _send(client, BATCH), sent)
            await looking
            watching.cancel()
    lost = len(sent.took_ms) * BATCH - (_stored(engine) - before)
    if lost:
        raise RuntimeError(f"{lost:,} selections that were answered for are not stored")
    note = (
        f"p50 {shown(sent.at(0.5))}, slowest {shown(sent.at(1.0))} ms; {len(sent.took_ms) * BATCH:,} sent, none lost; "
        f"a page open, its slowest answer {shown(looked.at(1.0))} ms; {_failures(sent, looked)}"
    )
    rate = f"{BATCHES_PER_SECOND * BATCH:,.0f} selections/s by HTTP"
    reported = Line(f"{rate}, batches of {BATCH}: p99", kind, scene.rows, (sent.at(0.99),), unit="ms", note=note)
    grown = f"{shown(memory_mb[0])} MB at the beginning, {shown(memory_mb[-1])} MB at the end"
    peak = Line(f"memory of the page's server, {rate}", kind, scene.rows, (max(memory_mb),), unit="MB", note=grown)
    return iter((reported, peak))


async def _send(client: httpx.AsyncClient, count: int) -> httpx.Response:
    batch: list[dict[str, Any]] = [
        {"modelId": ("swift-mini", "swift-pro")[number % 2], "requestId": uuid.uuid4().hex, "responseTime": 412.5,
         "cost": 0.0004, "complexity": "simple", "cacheHit": number % 3 == 0, "team": "team A"}
        for number in range(count)
    ]  # fmt: skip
    return await client.post("/selections", json=batch)


async def _watch(server: Server, memory_mb: list[float]) -> None:
    while True:
        memory_mb.append(server.resident_mb)
        await asyncio.sleep(1)


def _stored(engine: Engine) -> int:
    with reading(engine) as connection:
        return connection.scalar(select(func.count()).select_from(SELECTION)) or 0


def _failures(*answers: Answers) -> str:
    found = [f"{count} × {how}" for them in answers for how, count in them.failures.items()]
    return ", ".join(found) or "none failed"
