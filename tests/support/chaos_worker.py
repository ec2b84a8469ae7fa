"""A process that forks senders on request, because importing everything again takes seconds.

Reads "start" from its input and writes the id of the process that it started.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from models.context import AppContext, close_engines
from models.environment import load_environment
from reports.notices.mime import build_message_mail
from reports.notices.webhook_payload import render_message_json
from tasks.delivery.queue import RetryPolicy, due_ids
from tasks.delivery.worker import deliver_due
from tests.support import messages

POLICY = RetryPolicy(
    mail_s=0.8, webhook_s=0.8, lease=timedelta(seconds=3), back_off_s=(0.05, 0.1, 0.2, 0.3), run_s=60.0
)
"""The production timing, some hundred times as fast."""

PAUSE_S = 0.02


def main() -> None:
    environment = load_environment()
    ctx = AppContext(environment, environment.load_settings())
    _warm_up(ctx)
    for _ in sys.stdin:
        while _reaped():
            pass
        pid = os.fork()
        if pid == 0:
            _send(ctx)
            os._exit(0)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def _warm_up(ctx: AppContext) -> None:
    """Import what is loaded at the first use, so that a fork does not have to; nothing that it opens stays open."""
    due_ids(ctx.engine, datetime.now(UTC))
    close_engines()
    build_message_mail(messages.alerts(), message_id=1, sender="a@b.c", recipient="d@e.f", date=messages.AT)
    render_message_json(messages.alerts(), message_id=1)


def _send(ctx: AppContext) -> None:
    log = (Path(ctx.environment.home) / f"worker-{os.getpid()}.log").open("w")
    os.dup2(log.fileno(), 2)
    parent = os.getppid()
    while os.getppid() == parent:
        if not deliver_due(ctx, now=datetime.now(UTC), policy=POLICY):
            time.sleep(PAUSE_S)


def _reaped() -> bool:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return False


if __name__ == "__main__":
    main()
