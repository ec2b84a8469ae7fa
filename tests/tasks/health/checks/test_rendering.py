"""A missing font or rendering library is reported with how to install it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from reports.assets import fonts
from tasks.health.check import CheckState
from tests.support.health import found, of


def test_a_missing_font_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "DIRECTORY", tmp_path)
    result = found("fonts", of(tmp_path))
    monkeypatch.undo()
    assert (result.state, "make setup" in result.remedy) == (CheckState.FAILED, True)
    assert found("fonts", of(tmp_path)).state is CheckState.OK


def test_a_missing_library_is_reported_with_how_to_install_it() -> None:
    code = """
        import cffi
        load = cffi.FFI.dlopen
        def dlopen(self, name, flags=0):
            if "pango" in str(name):
                raise OSError(f"cannot load library '{name}'")
            return load(self, name, flags)
        cffi.FFI.dlopen = dlopen
        from tasks.health.checks.rendering import checks
        print([check.run() for check in checks(None) if check.name == "PDF"])
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert "State.FAILED" in done.stdout
    assert "libpango-1.0-0" in done.stdout
    assert "apt-get install" in done.stdout
