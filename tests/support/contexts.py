"""Workplaces for the tests of sending: real settings, a database, servers on the loopback."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine

from models.context import Workplace
from models.database import writing
from models.environment import Environment
from models.notifications import AlertMessage
from models.settings import parse_settings
from tasks.delivery.outbox import post
from tests.support import messages
from tests.support.servers import Mailbox

NOW = datetime(2026, 9, 8, 6, tzinfo=UTC)
SECRET = "whsec_cGxhbnRlZC13ZWJob29rLXNlY3JldC0x"


def workplace_of(
    engine: Engine, home: Path, delivery: dict[str, object], *, box: Mailbox | None = None, secret: str = SECRET
) -> Workplace:
    """A workplace that may reach this machine, with a block of settings about delivery."""
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
    return Workplace(environment, parse_settings(settings, "test"))


def place_of(engine: Engine, home: Path, *entries: str, box: Mailbox | None = None, **delivery: object) -> Workplace:
    """The same with its recipients behind the name `ops`."""
    return workplace_of(engine, home, {"recipients": {"ops": list(entries)}} | delivery, box=box)


def told(place: Workplace, message: AlertMessage | None = None) -> None:
    """A message to everybody behind `ops`."""
    with writing(place.engine) as connection:
        post(connection, message or messages.alerts(), "m", ["ops"], settings=place.settings, now=NOW)
