"""The context of a run: its environment, its settings and its database."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

from sqlalchemy import Engine

from models.database import open_database
from models.environment import Environment, load_environment
from models.settings import Settings


@dataclass(frozen=True)
class AppContext:
    """Validated environment and settings. It pickles; each process opens the engine once, on first use.

    `pool` names the connections: those of another name wait for none of these.
    """

    environment: Environment
    settings: Settings
    pool: str = "shared"

    @property
    def engine(self) -> Engine:
        """The database. Raises DatabaseUnavailable or SchemaOutdated on first use."""
        return _engine(self.environment.database_address, self.pool)


def load_context() -> AppContext:
    """Load the context that the environment describes. Raises SettingsError with every fault at once."""
    environment = load_environment()
    return AppContext(environment, environment.load_settings())


def close_engines() -> None:
    """Close every engine that this process opened; the next use opens a new one."""
    while _engines:
        _engines.popitem()[1].dispose()


_engines: dict[tuple[str, str], Engine] = {}
_opening = Lock()


def _engine(address: str, pool: str) -> Engine:
    with _opening:
        if (address, pool) not in _engines:
            _engines[address, pool] = open_database(address)
        return _engines[address, pool]
