"""Where a run works: its environment, its settings and its database."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import Engine

from models.database import open_database
from models.environment import Environment, load_environment
from models.settings import Settings


@dataclass(frozen=True)
class Workplace:
    """Environment and settings, both checked. It pickles; the engine is opened once per process, where it is used."""

    environment: Environment
    settings: Settings

    @property
    def engine(self) -> Engine:
        """The database. Raises DatabaseUnavailable or SchemaOutdated at the first use."""
        return _engine(self.environment.database_address)


def load_workplace() -> Workplace:
    """The workplace that the environment describes. Raises SettingsError with every fault at once."""
    environment = load_environment()
    return Workplace(environment, environment.load_settings())


@lru_cache(maxsize=8)
def _engine(address: str) -> Engine:
    return open_database(address)
