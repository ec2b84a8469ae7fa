"""Check that ROUTEWATCH_HOME can be written to, and has room."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile

from models.file_modes import is_too_open
from tasks.health.check import Check, CheckResult, amount, failed, ok, warning
from tasks.health.context import CheckContext

LEAST_BYTES = 100_000_000
"""Free space below which a day's reports and a growing database may no longer fit."""
FEW_BYTES = 1_000_000_000


def checks(context: CheckContext) -> list[Check]:
    """Return the checks of the folder and its disk."""
    return [Check("home", partial(_home, context)), Check("disk space", partial(_space, context))]


def nearest(path: Path) -> Path:
    """Return the path itself, or its nearest existing parent."""
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
    if is_too_open(home):
        mode = home.stat().st_mode & 0o777
        remedy = f"`chmod -R go= {home}`, or set ROUTEWATCH_UMASK to what others may not, such as 022"
        return warning(f"{home} can be written to, and others can look into it ({mode:o})", remedy)
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
