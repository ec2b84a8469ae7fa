"""Install the packages that a lock file pins into the environment of the running Python, and print progress.

Uses only the standard library and pip, as nothing else is installed yet. uv installs, as it takes a fraction of
pip's time; pip installs if it has its own index configured, which uv would not use, or if uv fails. Both check
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
    "requirements-test.lock": ("tests and style checks", 150, 500),
    "requirements-bench.lock": ("benchmarks", 75, 265),
    "requirements-docs.lock": ("the documentation", 15, 50),
    "requirements-uv.lock": ("locking", 25, 60),
}
"""Purpose, and additional megabytes to fetch and on disk: measured on Linux, rounded."""

UV_LOCK = Path(__file__).parent.parent / "requirements-uv.lock"
PACKAGES = Path(sysconfig.get_path("purelib"))
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
INSTALL = (*PIP, "install", "--require-hashes", "--no-deps", "--no-compile", "--progress-bar", "off", "--requirement")

_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)\s*(?:;\s*([^\\]+))?", re.MULTILINE)
_INDEX_OF_ITS_OWN = re.compile(r"[.](index-url|no-index|proxy|client-cert|trusted-host)=", re.MULTILINE)
_NOISE = re.compile(r"is ignored: it is (neither a file nor a directory|either a non-existing path)")
_EVERY_S = 10


def say(text: str) -> None:
    """Print a line for the user."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def missing(lock: Path) -> tuple[set[str], set[str]]:
    """Return all packages that are pinned for this system, and those not installed in that version."""
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
    """Return whether pip has sources or proxies configured: uv ignores those and might use unreachable ones."""
    configured = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    return bool(_INDEX_OF_ITS_OWN.search(configured))


class Progress:
    """Progress: on a terminal one line that counts, elsewhere a line from time to time."""

    def __init__(self, total: int, fetched: Callable[[], int]) -> None:
        self._total, self._fetched = total, fetched
        self._before = self._installed()
        self._began = self._reported_at = time.monotonic()
        self._reported = ""
        self._live = sys.stderr.isatty()

    @staticmethod
    def _installed() -> int:
        return sum(1 for _ in PACKAGES.glob("*.dist-info"))

    def report(self) -> None:
        installed, now = self._installed() - self._before, time.monotonic()
        done, word = (installed, "installed") if installed > 0 else (self._fetched(), "fetched")
        text = f"  {min(done, self._total)} of {self._total} {word}"
        if self._live:
            sys.stderr.write(f"\r{text}, {now - self._began:.0f} s \x1b[K")
            sys.stderr.flush()
        elif text != self._reported and now - self._reported_at >= _EVERY_S:
            say(f"{text} after {now - self._began:.0f} s")
            self._reported, self._reported_at = text, now

    def end(self) -> None:
        if self._live:
            sys.stderr.write("\r\x1b[K")


def watched(command: Iterable[str | Path], log: Path, progress: Progress, **environment: str) -> bool:
    """Run a command with all its output in the log; return whether it succeeded."""
    with log.open("wb") as out:
        process = subprocess.Popen([*command], stdout=out, stderr=out, env=os.environ | environment)  # noqa: S603
        try:
            while process.poll() is None:
                progress.report()
                time.sleep(0.2)
        finally:
            progress.end()
            if process.poll() is None:
                process.terminate()
                process.wait()
    return process.returncode == 0


def complaints(log: Path, levels: tuple[str, ...] = ("WARNING", "ERROR", "error", "DEPRECATION")) -> list[str]:
    """Return the lines worth showing: without those about missing links, which pip may repeat for each package."""
    lines = log.read_text(errors="replace").splitlines()
    return [line for line in lines if line.strip().startswith(levels) and not _NOISE.search(line)]


def by_uv(lock: Path, scratch: Path, total: int) -> bool:
    """Install with uv, which is fetched only for this; return False on failure."""
    quietly: list[str | Path] = [*INSTALL, UV_LOCK, "--quiet", "--target", scratch / "uv"]
    if subprocess.run(quietly, capture_output=True, check=False).returncode:  # noqa: S603
        return False
    log, cache = scratch / "uv.log", scratch / "cache"
    command = (
        scratch / "uv" / "bin" / "uv", "pip", "install", "--quiet", "--python", sys.executable, "--require-hashes",
        "--no-deps", "--requirement", lock,
    )  # fmt: skip
    progress = Progress(total, lambda: sum(1 for _ in cache.glob("archive-v0/*")))
    # A temporary cache to hard-link from; short timeouts, as pip is the fallback.
    if watched(
        command, log, progress, UV_CACHE_DIR=str(cache), UV_HTTP_RETRIES="1", UV_NO_PROGRESS="1", UV_SYSTEM_CERTS="1"
    ):
        return True
    why = " ".join(log.read_text(errors="replace").split())[:200]
    say(f"uv failed, trying pip: {why}")
    return False


def by_pip(lock: Path, scratch: Path, total: int) -> bool:
    """Install with pip and show its warnings."""
    log = scratch / "pip.log"
    progress = Progress(total, lambda: log.read_text(errors="replace").count("Collecting "))
    done = watched([*INSTALL, lock], log, progress)
    for line in complaints(log):
        say(line)
    if not done and not complaints(log, ("ERROR",)):
        say(log.read_text(errors="replace")[-2000:])
    return done


def install(lock: Path) -> bool:
    """Install the missing packages of a lock file; return whether all are installed then."""
    began = time.monotonic()
    pinned, absent = missing(lock)
    purpose, fetch_mb, disk_mb = ABOUT.get(lock.name, (lock.name, 0, 0))
    if not absent:
        say(f"Already installed for {purpose}: {_counted(pinned)}.")
        return True
    # The size of a few changed packages is unknown.
    whole = fetch_mb and len(absent) * 4 > len(pinned)
    size = f" (about {fetch_mb} MB to fetch, {disk_mb} MB on disk)" if whole else ""
    say(f"Installing {_counted(absent)} for {purpose}{size} ...")
    with tempfile.TemporaryDirectory(prefix=".installing-", dir=sys.prefix) as scratch:
        arguments = (lock, Path(scratch), len(absent))
        done = (not has_index_of_its_own() and by_uv(*arguments)) or by_pip(*arguments)
    if done:
        say(f"{_counted(absent)} installed in {time.monotonic() - began:.0f} s.")
    return done


if __name__ == "__main__":
    try:
        sys.exit(0 if all(install(Path(name)) for name in sys.argv[1:]) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
