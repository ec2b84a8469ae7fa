"""Contexts for the tests of sending: real settings, a database, servers on the loopback."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine

from models.context import AppContext
from models.database import writing
from models.environment import Environment
from models.notifications import AlertMessage
from models.settings import parse_settings
from tasks.delivery.outbox import enqueue_message
from tests.support import messages
from tests.support.servers import Mailbox

NOW = datetime(2026, 9, 8, 6, tzinfo=UTC)
SECRET = "whsec_cGxhbnRlZC13ZWJob29rLXNlY3JldC0x"


def context_with_delivery(
    engine: Engine, home: Path, delivery: dict[str, object], *, box: Mailbox | None = None, secret: str = SECRET
) -> AppContext:
    """Return a context that may reach this machine, with a block of settings about delivery."""
    environment = Environment(
        home=home,
        database_url=SecretStr(engine.url.render_as_string(hide_password=False)),
        smtp_host="127.0.0.1",
        smtp_port=box.port if box else 9,
        smtp_security="none",
        mail_from="Routewatch <routewatch@example.org>",
        webhook_secret=SecretStr(secret),
    )
    settings = {"delivery": {"allowPrivateAddresses": True} | delivery}
    return AppContext(environment, parse_settings(settings, "test"))


def context_of(engine: Engine, home: Path, *entries: str, box: Mailbox | None = None, **delivery: object) -> AppContext:
    """Return the same with its recipients behind the name `ops`."""
    return context_with_delivery(engine, home, {"recipients": {"ops": list(entries)}} | delivery, box=box)


def enqueue_to_ops(ctx: AppContext, message: AlertMessage | None = None) -> None:
    """Enqueue a message to everybody behind `ops`."""
    with writing(ctx.engine) as connection:
        enqueue_message(connection, message or messages.alerts(), "m", ["ops"], settings=ctx.settings, now=NOW)
