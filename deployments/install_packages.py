"""Installs what a lock file pins into the environment of the Python that runs this, and says what it does meanwhile.

With the standard library and pip alone, as nothing else is there yet. uv does it where it may, as it takes a fraction
of pip's time; pip does where it is told of an index of its own, which uv would not ask, and where uv fails. Both check
hashes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable
from importlib.metadata import distributions
from pathlib import Path

ABOUT = {
    "requirements.lock": ("running", 240, 800),
    "requirements-test.lock": ("tests and checks of style", 150, 500),
    "requirements-bench.lock": ("benchmarks", 35, 150),
    "requirements-docs.lock": ("the documentation", 15, 50),
    "requirements-uv.lock": ("locking", 25, 60),
}
"""What for, and megabytes to fetch and on disk beyond what is there by then: measured on Linux, rounded."""

UV_LOCK = Path(__file__).parent.parent / "requirements-uv.lock"
PACKAGES = Path(sysconfig.get_path("purelib"))
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
INSTALL = (*PIP, "install", "--require-hashes", "--no-deps", "--no-compile", "--progress-bar", "off", "--requirement")

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]+))?", re.MULTILINE)
_INDEX_OF_ITS_OWN = re.compile(r"[.](index-url|no-index|proxy|client-cert|trusted-host)=", re.MULTILINE)
_NOISE = re.compile(r"is ignored: it is (neither a file nor a directory|either a non-existing path)")
_EVERY_S = 10


def say(text: str) -> None:
    """To whoever waits."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def missing(lock: Path) -> tuple[set[str], set[str]]:
    """All packages that are pinned for this system, and those that are not there in that version."""
    from pip._vendor.packaging.markers import Marker

    here = {(_plain(it.name), it.version) for it in distributions() if it.name}
    pins = {
        (_plain(name), version)
        for name, version, marker in _PIN.findall(lock.read_text())
        if not marker or Marker(marker.strip()).evaluate({"extra": ""})
    }
    return {name for name, _ in pins}, {name for name, _ in pins - here}


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _counted(packages: set[str]) -> str:
    return f"{len(packages)} package{'s' if len(packages) != 1 else ''}"


def has_index_of_its_own() -> bool:
    """Whether pip is told where to fetch from, or how: uv does not read that, and might ask where nobody may ask."""
    told = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    return bool(_INDEX_OF_ITS_OWN.search(told))


class Progress:
    """On a terminal one line that counts; elsewhere a line now and then."""

    def __init__(self, total: int, fetched: Callable[[], int]) -> None:
        self._total, self._fetched = total, fetched
        self._before = self._installed()
        self._began = self._told_at = time.monotonic()
        self._told = ""
        self._live = sys.stderr.isatty()

    @staticmethod
    def _installed() -> int:
        return sum(1 for _ in PACKAGES.glob("*.dist-info"))

    def tell(self) -> None:
        installed, now = self._installed() - self._before, time.monotonic()
        done, word = (installed, "installed") if installed > 0 else (self._fetched(), "fetched")
        text = f"  {min(done, self._total)} of {self._total} {word}"
        if self._live:
            sys.stderr.write(f"\r{text}, {now - self._began:.0f} s \x1b[K")
            sys.stderr.flush()
        elif text != self._told and now - self._told_at >= _EVERY_S:
            say(f"{text} after {now - self._began:.0f} s")
            self._told, self._told_at = text, now

    def end(self) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")


def watched(command: Iterable[str | Path], log: Path, progress: Progress, **environment: str) -> bool:
    """Whether the command did it; all that it says is in the log."""
    with log.open("wb") as out:
        process = subprocess.Popen([*command], stdout=out, stderr=out, env=os.environ | environment)  # noqa: S603
        try:
            while process.poll() is None:
                progress.tell()
                time.sleep(0.2)
        finally:
            progress.end()
            if process.poll() is None:
                process.terminate()
                process.wait()
    return process.returncode == 0


def complaints(log: Path, levels: tuple[str, ...] = ("WARNING", "ERROR", "error", "DEPRECATION")) -> list[str]:
    """What somebody should read: not that a place lacks a package, which pip may say of every one."""
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if line.strip().startswith(levels) and not _NOISE.search(line)]


def by_uv(lock: Path, scratch: Path, total: int) -> bool:
    """Installs with uv, which is fetched for that alone; False if that did not work."""
    quietly: list[str | Path] = [*INSTALL, UV_LOCK, "--quiet", "--target", scratch / "uv"]
    if subprocess.run(quietly, capture_output=True, check=False).returncode:  # noqa: S603
        return False
    log, cache = scratch / "uv.log", scratch / "cache"
    command = (
        scratch / "uv" / "bin" / "uv", "pip", "install", "--quiet", "--python", sys.executable, "--require-hashes",
        "--no-deps", "--requirement", lock,
    )  # fmt: skip
    progress = Progress(total, lambda: sum(1 for _ in cache.glob("archive-v0/*")))
    # A cache here, to be hard-linked from and thrown away; and no long patience, as pip is there too.
    if watched(command, log, progress, UV_CACHE_DIR=str(cache), UV_HTTP_RETRIES="1", UV_NO_PROGRESS="1"):
        return True
    why = " ".join(log.read_text(errors="replace").split())[:200]
    say(f"uv could not, pip tries it: {why}")
    return False


def by_pip(lock: Path, scratch: Path, total: int) -> bool:
    """Installs with pip, and shows what it complains of."""
    log = scratch / "pip.log"
    progress = Progress(total, lambda: log.read_text(errors="replace").count("Collecting "))
    done = watched([*INSTALL, lock], log, progress)
    for line in complaints(log):
        say(line)
    if not done and not complaints(log, ("ERROR",)):
        say(log.read_text(errors="replace")[-2000:])
    return done


def install(lock: Path) -> bool:
    """Installs what is missing of a lock file; whether all of it is there then."""
    began = time.monotonic()
    pinned, absent = missing(lock)
    purpose, fetch_mb, disk_mb = ABOUT.get(lock.name, (lock.name, 0, 0))
    if not absent:
        say(f"There already for {purpose}: {_counted(pinned)}.")
        return True
    # Of a few that have changed it is not known.
    whole = fetch_mb and len(absent) * 4 > len(pinned)
    size = f" (about {fetch_mb} MB to fetch, {disk_mb} MB on disk)" if whole else ""
    say(f"Installing {_counted(absent)} for {purpose}{size} ...")
    with tempfile.TemporaryDirectory(prefix=".installing-", dir=sys.prefix) as scratch:
        told = (lock, Path(scratch), len(absent))
        done = (not has_index_of_its_own() and by_uv(*told)) or by_pip(*told)
    if done:
        say(f"{_counted(absent)} installed in {time.monotonic() - began:.0f} s.")
    return done


if __name__ == "__main__":
    try:
        sys.exit(0 if all(install(Path(name)) for name in sys.argv[1:]) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
