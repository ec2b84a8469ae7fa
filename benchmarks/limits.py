"""Measure what 21,000 model ids, a bomb of 44 kB and callers that hang up cost the page's server."""

from __future__ import annotations

import gzip
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import httpx
import polars as pl
from sqlalchemy import Engine, select

from benchmarks.databases import Kind, fill
from benchmarks.line import Goal, Line, seconds_of, shown
from benchmarks.page_load import Server, page_server
from benchmarks.scene import ROLLUP_SETTINGS, Scene, address_of
from benchmarks.traffic import DAYS, PERIOD, traffic
from models.database import reading
from models.schema import ROLLUP_CHECKPOINT
from tasks.rollups.update import update_rollups

MODELS = 21_000
ASKED = {"the page": "/", "/summary": "/summary", "/metrics": "/metrics"}
SLOWEST_S, LARGEST_SUMMARY_MB, LARGEST_PROCESS_MB, BOMB_S = 2.0, 1.0, 400.0, 1.0
BOMB = gzip.compress(b"\x0a\x00" * 22_000_000, mtime=0)
"""22 million resources of two bytes each."""
HANG_UPS, WAVES = 200, 10
PATIENCE_S = 300.0
POLL_S = 0.1


def lines(scene: Scene) -> Iterator[Line]:
    for kind in scene.kinds:
        scene.say(f"storing {scene.rows:,} rows of {MODELS:,} models in {kind}")
        engine = _crowded(scene, kind)
        try:
            with page_server(address_of(engine), scene.folder / "home") as server:
                for name, path in ASKED.items():
                    scene.say(f"{name}, {kind}")
                    yield from _asked(scene, kind, server, name, path)
                scene.say(f"a bomb, {kind}")
                yield _bombed(scene, kind, server)
                scene.say(f"{HANG_UPS} that hang up, {kind}")
                yield _hung_up(scene, kind, server, engine)
                goal = Goal(LARGEST_PROCESS_MB, at_least=False)
                yield Line("peak memory of the page's server", kind, scene.rows, (_peak_mb(server),), "MB", goal)
        finally:
            scene.databases(kind).drop(engine)


# ----------------------------------------------------------------------------------------------------------------------


def _crowded(scene: Scene, kind: Kind) -> Engine:
    """Return a database with the traffic of the last day, half of it of models that are seldom used."""
    engine, now, made = scene.databases(kind).make(), datetime.now(UTC), 0
    frames = []
    for frame in traffic(scene.rows):
        rare = pl.int_range(made, made + frame.height, eager=True)
        made += frame.height
        frames.append(
            frame.with_columns(
                timestamp=pl.lit(now) - (pl.lit(PERIOD.end) - pl.col("timestamp")) / DAYS,
                model_id=pl.when(rare % 2 == 0).then(pl.format("rare-{}", rare // 2 % MODELS)).otherwise("model_id"),
            ).with_columns(pl.col("timestamp").dt.cast_time_unit("us"))
        )
    fill(engine, kind, frames)
    update_rollups(engine, ROLLUP_SETTINGS, now=now)
    return engine


def _asked(scene: Scene, kind: Kind, server: Server, name: str, path: str) -> Iterator[Line]:
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(httpx.get(f"{server.address}{path}", timeout=PATIENCE_S).raise_for_status())

    before_s = _processor_s(server)
    first_s = seconds_of(ask)
    used_s = _processor_s(server) - before_s
    note = f"the first after the start, {used_s:.1f} s of a processor; the next {shown(seconds_of(ask) * 1_000)} ms"
    goal = Goal(SLOWEST_S, at_least=False)
    yield Line(f"{name} with {MODELS:,} models", kind, scene.rows, (first_s,), "s", goal, note)
    if path == "/summary":
        size = Goal(LARGEST_SUMMARY_MB, at_least=False)
        yield Line("its size", kind, scene.rows, (len(answers[0].content) / 1e6,), "MB", size)


def _bombed(scene: Scene, kind: Kind, server: Server) -> Line:
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
    answers: list[httpx.Response] = []
    stopping, open_s = threading.Event(), list[float]()

    def send() -> None:
        one = {"modelId": "swift-mini", "requestId": uuid.uuid4().hex}
        httpx.post(f"{server.address}/selections", json=one, timeout=PATIENCE_S).raise_for_status()

    def keep_sending() -> None:
        while not stopping.is_set():
            open_s.append(seconds_of(send))

    sender = threading.Thread(target=keep_sending)
    sender.start()
    took_s = seconds_of(
        lambda: answers.append(
            httpx.post(f"{server.address}/v1/traces", content=BOMB, headers=headers, timeout=PATIENCE_S)
        )
    )
    stopping.set()
    sender.join()
    if answers[0].status_code != httpx.codes.REQUEST_ENTITY_TOO_LARGE:
        raise RuntimeError(f"the bomb was answered with {answers[0].status_code}")
    note = f"{len(BOMB):,} bytes, 413; {len(open_s)} selections taken meanwhile, the slowest in {max(open_s):.2f} s"
    goal = Goal(BOMB_S, at_least=False)
    return Line("an OTLP bomb until it is refused", kind, scene.rows, (took_s,), "s", goal, note)


def _hung_up(scene: Scene, kind: Kind, server: Server, engine: Engine) -> Line:
    """The longest time between two turns of the monitor, while callers ask for /metrics and hang up."""
    quiet_s = _longest_turn(engine, server, waves=0)
    before_mb = server.resident_mb
    longest_s = _longest_turn(engine, server, waves=WAVES)
    note = (
        f"{WAVES} × {HANG_UPS} on /metrics; without them {quiet_s:.1f} s; memory {shown(before_mb)} MB before, "
        f"{shown(server.resident_mb)} MB after"
    )
    return Line("longest time between turns of the monitor", kind, scene.rows, (longest_s,), "s", note=note)


def _longest_turn(engine: Engine, server: Server, *, waves: int) -> float:
    seen: list[float] = []
    stopping = threading.Event()

    def watch() -> None:
        last = None
        while not stopping.is_set():
            with reading(engine) as connection:
                updated = connection.scalar(select(ROLLUP_CHECKPOINT.c.rollups_updated_at))
            if updated != last:
                seen.append(time.perf_counter())
            last = updated
            time.sleep(POLL_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(waves):
        with ExitStack() as connections:
            for _ in range(HANG_UPS):
                connections.enter_context(_asking(server))
        time.sleep(1.0)
    time.sleep(12.0)
    stopping.set()
    watcher.join()
    return max((later - earlier for earlier, later in pairwise(seen)), default=float("inf"))


def _asking(server: Server) -> socket.socket:
    host, _, port = server.address.removeprefix("http://").rpartition(":")
    connection = socket.create_connection((host, int(port)), timeout=PATIENCE_S)
    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    return connection


def _processor_s(server: Server) -> float:
    """Return the processor time of the process and of those that it has waited for."""
    fields = Path(f"/proc/{server.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _peak_mb(server: Server) -> float:
    lines = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
