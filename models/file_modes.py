"""Who may read what Routewatch writes: its own user alone, unless ROUTEWATCH_UMASK says otherwise."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

VARIABLE = "ROUTEWATCH_UMASK"
STRICTEST = 0o077
"""Files 600, folders 700."""


def umask() -> int:
    """The rights that new files and folders lack; what is no octal number counts as the strictest."""
    text = next((value for name, value in os.environ.items() if name.upper() == VARIABLE), "").strip()
    return int(text, 8) & 0o777 if re.fullmatch("0?[0-7]{3}", text) else STRICTEST


def file_mode() -> int:
    """The mode of a new file."""
    return 0o666 & ~umask()


def use_umask() -> None:
    """Have this process and its children write that way, whatever library does it."""
    os.umask(umask())


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each with the mode that ROUTEWATCH_UMASK leaves it; others stay as they are."""
    for folder in reversed((path, *path.parents)):
        if folder.is_dir():
            continue
        # Another process may be making it too.
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            folder.chmod(0o777 & ~umask())


def open_file_once(path: Path) -> None:
    """Create an empty file, with its folder, or take an empty one over; one with a content stays as it is."""
    make_folder(path.parent)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    if not path.stat().st_size:
        path.chmod(file_mode())


def is_too_open(path: Path) -> bool:
    """Whether others have rights to it that ROUTEWATCH_UMASK takes from new ones."""
    return bool(path.stat().st_mode & umask() & 0o077)
