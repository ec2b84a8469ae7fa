"""Which tests run in one process, and in which order, where several processes share them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

PREFECT = "prefect_server"
"""The fixture, and the group of all files that use it."""

ONE_GROUP_A_CASE = "tests/reports/renderers/test_fuzz.py"
"""Its tests share what is rendered of a document, and no two documents share anything."""

LONGEST = (
    PREFECT, "tests/deployments/service/test_serve.py", "tests/dashboard/test_browser.py",
    "tests/system/test_delivery_chaos.py", "tests/deployments/cli/test_app.py", ONE_GROUP_A_CASE,
)  # fmt: skip
"""Prefixes of the slowest groups: they run first, so that none of them is left at the end."""


ON_SQLITE_AT_EVERY_CHANGE = tuple(
    f"tests/{folder}/" for folder in ("dashboard", "flows", "security", "system", "tasks/alerts", "tasks/optimizer")
)
"""Folders whose subjects' statements SQLAlchemy writes alike for both databases: on PostgreSQL too for a release.

The statements that differ, and their tests, stand in models/, routewatch/ and the other folders of tasks/.
"""


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist brings no types
    """The tests of a file share servers and browsers, and those of all files Prefect's server: each in one process."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid, Path(self.config.rootpath))


def group_of(nodeid: str, root: Path) -> str:
    """Return the name of the group that a test belongs to."""
    path, _, name = nodeid.partition("::")
    if path == ONE_GROUP_A_CASE:
        return path + name[name.find("[") :]
    return PREFECT if _asks_for_prefect(root / path) else path


def place_in_line(item: pytest.Item) -> tuple[int, bool]:
    """Sort by group, and in Prefect's group put tests that need the server first, which ends with the others."""
    group = group_of(item.nodeid, item.config.rootpath)
    ctx = next((ctx for ctx, start in enumerate(LONGEST) if group.startswith(start)), len(LONGEST))
    fixtures: Any = getattr(item, "fixturenames", ())
    return ctx, group == PREFECT and PREFECT not in fixtures


def is_for_a_release(item: pytest.Item) -> bool:
    """Return whether a test repeats on PostgreSQL what it shows on SQLite, and both would be alike."""
    callspec: Any = getattr(item, "callspec", None)
    return (
        item.nodeid.startswith(ON_SQLITE_AT_EVERY_CHANGE)
        and callspec is not None
        and "postgres"
        in (callspec.params.get("engine"), callspec.params.get("reader"), callspec.params.get("database"))
    )


@cache
def _asks_for_prefect(path: Path) -> bool:
    return PREFECT in path.read_text(encoding="utf-8")
