"""The checks run concurrently: none stops another, and none reveals a secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from tasks.health.check import Check, CheckResult, CheckSkipped, CheckState, ok
from tasks.health.runner import run_checks
from tests.support.contexts import SECRET
from tests.support.page_server import TOKENS


def test_a_check_that_raises_or_does_not_end_stops_no_other() -> None:
    over = Event()

    def defect() -> CheckResult:
        raise ZeroDivisionError("planted")

    def endless() -> CheckResult:
        over.wait()
        return ok("")

    def not_here() -> CheckResult:
        raise CheckSkipped("not here")

    looks: tuple[Callable[[], CheckResult], ...] = (defect, endless, not_here, lambda: ok("well"))
    checked = run_checks([Check(str(number), look) for number, look in enumerate(looks)], timeout_s=3.0)
    over.set()
    assert [(it.name, it.result.state.value) for it in checked] == [
        ("0", "failed"), ("1", "failed"), ("2", "skipped"), ("3", "ok"),
    ]  # fmt: skip
    assert checked[0].result.found == "the check ended with a ZeroDivisionError"
    assert "not done within 3 s" in checked[1].result.found


def test_no_secret_of_the_environment_is_shown_even_where_a_server_repeats_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    planted = {
        "ROUTEWATCH_SMTP_PASSWORD": "planted password", "ROUTEWATCH_WEBHOOK_SECRET": f"{SECRET} whsec_cGxhbnRlZDI=",
        "ROUTEWATCH_TOKENS": f"{TOKENS} x:planted:planted:planted", "PREFECT_API_KEY": "planted-key",
        "ROUTEWATCH_DATABASE_URL": "postgresql://ops:planted%20db@h/x", "PREFECT_API_AUTH_STRING": "ops:planted-auth",
    }  # fmt: skip
    for name, value in planted.items():
        monkeypatch.setenv(name, value)
    repeated = f"{planted} planted db planted%20db"
    (checked,) = run_checks([Check("parrot", lambda: CheckResult(CheckState.FAILED, repeated, repeated))])
    for text_ in (checked.result.found, checked.result.remedy):
        for secret in ("planted", SECRET[6:], "cGxhbnRlZDI", *(it.split(":")[2] for it in TOKENS.split())):
            assert secret not in text_.replace("x:planted:", "")
