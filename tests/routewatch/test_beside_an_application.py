"""A router imports the client beside modules of its own with the names of Routewatch's folders."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Engine, select

from models.database import reading
from routewatch.selection import SELECTION
from tests.support.installations import INSIDE, OURS, clean_environment, write_modules, write_packages
from tests.support.paths import ROOT

ROUTER = """
from routewatch import RouterLog


def serve():
    with RouterLog() as log:
        for number in range(3):
            log.record_selection(model_id=f"m{number}", cost_usd=0.5)
        assert log.flush(30), log.counts
        assert log.counts.written == 3, log.counts


async def application(scope, receive, send):
    serve()
    await send({"type": "lifespan.startup.failed", "message": "this is all it does"})


if __name__ == "__main__":
    serve()
"""

NEEDED = ("sqlalchemy", "typing_extensions.py")


@pytest.fixture(params=["editable", pytest.param("wheel", marks=pytest.mark.slow)])
def python(request: pytest.FixtureRequest) -> Path:
    """An interpreter that Routewatch is installed for."""
    if request.param == "editable":
        return Path(sys.executable)
    installed: Path = request.getfixturevalue("wheel_python")
    return installed


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """The folder of a router."""
    folder = tmp_path / "application"
    folder.mkdir()
    (folder / "router.py").write_text(ROUTER)
    return folder


def run(command: list[str | Path], folder: Path, address: str = "", status: int = 0) -> str:
    environment = clean_environment({"ROUTEWATCH_DATABASE_URL": address} if address else {})
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def address_of(engine: Engine) -> str:
    return engine.url.render_as_string(hide_password=False)


def stored(engine: Engine) -> list[str]:
    with reading(engine) as connection:
        return list(connection.scalars(select(SELECTION.c.model_id).order_by(SELECTION.c.id)))


@pytest.mark.parametrize(
    ("start", "write"),
    [(["router.py"], write_modules), (["router.py"], write_packages), (["-m", "router"], write_modules)],
    ids=["by its path, modules", "by its path, packages", "by its name, modules"],
)
def test_a_router_beside_names_like_ours_logs(
    python: Path, application: Path, engine: Engine, start: list[str], write: Callable[[Path], None]
) -> None:
    write(application)
    run([python, *start], application, address_of(engine))
    assert stored(engine) == ["m0", "m1", "m2"]


def test_a_server_of_applications_that_imports_a_router_logs(
    python: Path, application: Path, sqlite_engine: Engine
) -> None:
    """As gunicorn and uvicorn do it: a program of an environment, which imports modules from the current folder."""
    write_modules(application)
    server: list[str | Path] = [python, "-m", "uvicorn", "--lifespan", "on", "router:application"]
    said = run(server, application, address_of(sqlite_engine), status=3)
    assert "this is all it does" in said
    assert stored(sqlite_engine) == ["m0", "m1", "m2"]


def test_an_application_that_lacks_a_module_does_not_find_ours(python: Path, application: Path) -> None:
    code = f"""
        import importlib.util
        import routewatch
        print([name for name in {(*OURS, *INSIDE)!r} if importlib.util.find_spec(name)])
    """
    (application / "asks.py").write_text("\n".join(line.strip() for line in code.splitlines()))
    assert run([python, "asks.py"], application) == "[]\n"


def test_a_router_waits_for_no_library_before_its_first_log(python: Path, application: Path) -> None:
    code = """
import sys
from pathlib import Path
known = set(sys.modules)
from routewatch import RouterLog
first = {name.partition(".")[0] for name in set(sys.modules) - known} - set(sys.stdlib_module_names)
log = RouterLog("sqlite:///x.db")
log.record_selection(model_id="m")
then = {name.partition(".")[0] for name in set(sys.modules) - known} - set(sys.stdlib_module_names)
print(sorted(first), sorted(name for name in then if not name.startswith("_")))
log.close(0)
"""
    (application / "asks.py").write_text(code)
    said = run([python, "asks.py"], application)
    libraries = sorted({*(name.removesuffix(".py") for name in NEEDED), "cython_runtime", "routewatch"})
    assert said.splitlines()[0] == f"['routewatch'] {libraries}"


def test_the_client_alone_needs_sqlalchemy_alone(application: Path, sqlite_engine: Engine) -> None:
    libraries = application.parent / "libraries"
    libraries.mkdir()
    for name in NEEDED:
        (libraries / name).symlink_to(Path(sysconfig.get_path("purelib")) / name)
    (libraries / "routewatch").symlink_to(ROOT / "routewatch")
    code = "import runpy, sys; sys.path.append(sys.argv.pop(1)); runpy.run_path('router.py', run_name='__main__')"
    run([sys.executable, "-S", "-c", code, libraries], application, address_of(sqlite_engine))
    assert stored(sqlite_engine) == ["m0", "m1", "m2"]
