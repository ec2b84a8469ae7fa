"""Whatever servers do and whenever a sender is killed: each delivery ends once, and on record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from sqlalchemy import Engine, func, select

from models.database import reading, writing
from models.settings import Settings, parse_settings
from models.tables import Delivery, DeliveryAttempt, StoredMessage, table_of
from tasks.delivery.outbox import enqueue_message
from tests.support import messages
from tests.support.environment import clean_environment
from tests.support.misbehaving_servers import Unruly, unruly_hook, unruly_mailbox
from tests.support.paths import ROOT
from tests.support.waiting import slowness

FEW_DELIVERIES, DELIVERIES = 20, int(os.environ.get("ROUTEWATCH_CHAOS", "300"))
HOOKS, MAILBOXES = 10, 10
WORKERS = 2
KILL_EVERY_S = 1.0
"""On a quiet machine: elsewhere senders would be killed before they have sent anything."""

SECRET = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQ="
DELIVERY, ATTEMPT = table_of(Delivery), table_of(DeliveryAttempt)
MESSAGE = table_of(StoredMessage)


def settings_for(hook: Unruly) -> dict[str, Any]:
    mailboxes = [f"{'gone' if number == 0 else 'here'}-{number}@example.org" for number in range(MAILBOXES)]
    recipients = {
        "mails": [f"mailto:{address}" for address in mailboxes],
        "hooks": [f"http://127.0.0.1:{hook.port}/hook/{number}" for number in range(HOOKS)],
    }
    return {"delivery": {"allowPrivateAddresses": True, "recipients": recipients, "maximumAttempts": 20}}


def queued(engine: Engine, settings: Settings, deliveries: int) -> None:
    now = datetime.now(UTC)
    with writing(engine) as connection:
        for number in range(deliveries // (HOOKS + MAILBOXES)):
            enqueue_message(
                connection, messages.alerts(), f"chaos-{number}", ("mails", "hooks"), settings=settings, now=now
            )


def waiting(engine: Engine) -> int:
    with reading(engine) as connection:
        states: dict[str, int] = dict(
            connection.execute(select(DELIVERY.c.state, func.count()).group_by(DELIVERY.c.state)).all()
        )
    return sum(states.get(state, 0) for state in ("queued", "sending", "committing"))


@dataclass
class Nursery:
    """Starts senders, and kills them."""

    process: subprocess.Popen[str]
    alive: list[int]
    killed: int = 0

    def start(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        while len(self.alive) < WORKERS:
            self.process.stdin.write("start\n")
            self.process.stdin.flush()
            self.alive.append(int(self.process.stdout.readline()))

    def kill(self) -> None:
        for pid in self.alive:
            os.kill(pid, signal.SIGKILL)
        self.killed += len(self.alive)
        self.alive.clear()


@contextmanager
def nursery(engine: Engine, home: Path, mail: Unruly, settings: dict[str, Any]) -> Iterator[Nursery]:
    path = home / "settings.json"
    path.write_text(json.dumps(settings))
    environment = clean_environment() | {
        "ROUTEWATCH_HOME": str(home),
        "ROUTEWATCH_DATABASE_URL": engine.url.render_as_string(hide_password=False),
        "ROUTEWATCH_SETTINGS": str(path),
        "ROUTEWATCH_SMTP_HOST": "127.0.0.1",
        "ROUTEWATCH_SMTP_PORT": str(mail.port),
        "ROUTEWATCH_SMTP_SECURITY": "none",
        "ROUTEWATCH_MAIL_FROM": "routewatch@example.org",
        "ROUTEWATCH_WEBHOOK_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "tests.support.chaos_worker"]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=ROOT,
    )  # fmt: skip
    with process:
        workers = Nursery(process, [])
        try:
            yield workers
        finally:
            workers.kill()
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


@pytest.mark.parametrize("deliveries", [FEW_DELIVERIES, pytest.param(DELIVERIES, marks=pytest.mark.slow)])
def test_each_delivery_ends_once_whatever_servers_do_and_however_often_senders_are_killed(
    engine: Engine, tmp_path: Path, deliveries: int
) -> None:
    with unruly_mailbox() as mail, unruly_hook() as hook:
        settings = settings_for(hook)
        queued(engine, parse_settings(settings, "test"), deliveries)
        with nursery(engine, tmp_path, mail, settings) as workers:
            pause = Event()
            most_rounds = 60 + deliveries // 10
            while waiting(engine) and workers.killed < most_rounds * WORKERS:
                workers.start()
                pause.wait(KILL_EVERY_S * slowness())
                workers.kill()
        assert waiting(engine) == 0
        with reading(engine) as connection:
            rows = connection.execute(select(DELIVERY).order_by(DELIVERY.c.id)).all()
            last_words = dict(
                connection.execute(
                    select(ATTEMPT.c.delivery_id, ATTEMPT.c.answer).order_by(ATTEMPT.c.id)
                ).all()
            )  # fmt: skip
            notices = [it for it in connection.execute(select(MESSAGE.c.content)).scalars() if "deliveries" in it]
    outcomes = Counter((row.channel, row.state) for row in rows)
    reported = Counter(it["deliveryId"] for notice in notices for it in notice["deliveries"])
    figures = f"{engine.dialect.name}: {workers.killed} senders killed; {dict(outcomes)}; {len(notices)} notices"
    # Shown with -s, or when the test fails.
    sys.stdout.write("\n".join(("", figures, f"mail: {mail}", f"webhook: {hook}", "")))

    assert all(last_words[row.id] for row in rows)
    # A mail is never accepted twice; an uncertain one may have arrived, a dead letter has not.
    assert max(mail.accepted.values(), default=0) == 1
    by_channel = {
        channel: Counter(row.state for row in rows if row.channel == channel) for channel in ("email", "webhook")
    }
    sent, uncertain = by_channel["email"]["sent"], by_channel["email"]["uncertain"]
    assert sent <= len(mail.accepted) <= sent + uncertain
    # A webhook's receiver counts every sent delivery once, by its id, and no dead letter.
    assert {
        f"message_{row.message_id}_{row.id}" for row in rows if row.channel == "webhook" and row.state == "sent"
    } == (set(hook.accepted))
    assert by_channel["webhook"].keys() <= {"sent", "dead"}
    # One notification is sent for each dead letter.
    assert reported == Counter({row.id: 1 for row in rows if row.state == "dead"})
