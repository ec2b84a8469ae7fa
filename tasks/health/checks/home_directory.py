"""Whether ROUTEWATCH_HOME can be written to, and has room."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from tasks.health.check import Check, CheckResult, amount, failed, ok, warning
from tasks.health.context import CheckContext

LEAST_BYTES = 100_000_000
"""Below, a day's reports and a database that grows may no longer find room."""
FEW_BYTES = 1_000_000_000


def checks(context: CheckContext) -> list[Check]:
    """The folder, and the disk that it is on."""
    return [Check("home", partial(_home, context)), Check("disk space", partial(_space, context))]


def nearest(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(it for it in (path.absolute(), *path.absolute().parents) if it.exists())


# ----------------------------------------------------------------------------------------------------------------------


def _home(context: CheckContext) -> CheckResult:
    home = context.environment.home.absolute()
    there = nearest(home)
    remedy = "give the user that Routewatch runs as the right to write there, or set ROUTEWATCH_HOME to another folder"
    if not there.is_dir():
        return failed(f"{there} is a file, not a folder", "set ROUTEWATCH_HOME to a folder")
    try:
        with TemporaryFile(dir=there) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return failed(f"{there} cannot be written to: {error.strerror or error}", remedy)
    if there != home:
        return warning(f"{home} is not there yet: it is made once something is written", "`routewatch init` makes it")
    return ok(f"{home} can be written to")


def _space(context: CheckContext) -> CheckResult:
    home = nearest(context.environment.home)
    usage = shutil.disk_usage(home)
    found = f"{amount(usage.free)} of {amount(usage.total)} are free at {home}"
    remedy = "make room there, set ROUTEWATCH_HOME to another disk, or keep less (`monitoring.retentionPeriod`)"
    if usage.free < LEAST_BYTES:
        return failed(found, remedy)
    if usage.free < FEW_BYTES:
        return warning(found, remedy)
    return ok(found)
