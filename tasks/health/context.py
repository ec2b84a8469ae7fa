"""Check context: the inputs of the checks, as far as they could be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Engine

from models.context import AppContext
from models.database import check_revision, connect
from models.environment import Environment, load_environment
from models.errors import DatabaseUnavailable, SchemaOutdated, SettingsError
from models.recipient import Recipient
from models.settings import Settings
from tasks.health.check import CheckSkipped


def _clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class CheckContext:
    """Environment and settings, or the errors of reading them."""

    read_environment: Environment | SettingsError
    read_settings: Settings | SettingsError | None
    """None if the environment does not say where they are."""
    clock: Callable[[], datetime] = field(default=_clock)

    @property
    def environment(self) -> Environment:
        """Return the environment. Raises CheckSkipped if it has faults."""
        if isinstance(self.read_environment, SettingsError):
            raise CheckSkipped("the environment has faults")
        return self.read_environment

    @property
    def settings(self) -> Settings:
        """Return the settings. Raises CheckSkipped if they have faults."""
        if not isinstance(self.read_settings, Settings):
            raise CheckSkipped(f"the {'environment has' if self.read_settings is None else 'settings have'} faults")
        return self.read_settings

    @property
    def ctx(self) -> AppContext:
        return AppContext(self.environment, self.settings)

    def recipients(self) -> tuple[Recipient, ...]:
        """Return all recipients in the settings, each once."""
        delivery = self.settings.delivery
        every = (it for name in delivery.recipients for it in delivery.recipients_of(name))
        return tuple(dict.fromkeys(every))

    @contextmanager
    def database(self) -> Iterator[Engine]:
        """Return the existing database; never creates one. Raises DatabaseUnavailable."""
        engine = connect(self.environment.database_address)
        try:
            yield engine
        finally:
            engine.dispose()

    @contextmanager
    def tables(self) -> Iterator[Engine]:
        """Return the database if it is at this program's revision. Raises CheckSkipped if not."""
        try:
            with self.database() as engine:
                check_revision(engine)
                yield engine
        except SchemaOutdated:
            raise CheckSkipped("the database is not at this program's revision") from None
        except DatabaseUnavailable:
            raise CheckSkipped("the database cannot be used") from None


def current_context() -> CheckContext:
    """Return the context of this process's environment."""
    try:
        environment = load_environment()
    except SettingsError as error:
        return CheckContext(error, None)
    try:
        return CheckContext(environment, environment.load_settings())
    except SettingsError as error:
        return CheckContext(environment, error)
