"""The checks run beside one another: none stops another, and none tells a secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from tasks.health.check import Check, Finding, NotLooked, State, ok
from tasks.health.runner import examine
from tests.support.contexts import SECRET
from tests.support.page_server import TOKENS


def test_a_check_that_raises_or_does_not_end_stops_no_other() -> None:
    over = Event()

    def defect() -> Finding:
        raise ZeroDivisionError("planted")

    def endless() -> Finding:
        over.wait()
        return ok("")

    def not_here() -> Finding:
        raise NotLooked("not here")

    looks: tuple[Callable[[], Finding], ...] = (defect, endless, not_here, lambda: ok("well"))
    checked = examine([Check(str(number), look) for number, look in enumerate(looks)], timeout_s=3.0)
    over.set()
    assert [(it.name, it.finding.state.value) for it in checked] == [
        ("0", "failed"), ("1", "failed"), ("2", "skipped"), ("3", "ok"),
    ]  # fmt: skip
    assert checked[0].finding.found == "the check ended with a ZeroDivisionError"
    assert "not done within 3 s" in checked[1].finding.found


def test_no_secret_of_the_environment_is_told_even_where_a_server_repeats_it(
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
    (checked,) = examine([Check("parrot", lambda: Finding(State.FAILED, repeated, repeated))])
    for text_ in (checked.finding.found, checked.finding.remedy):
        for secret in ("planted", SECRET[6:], "cGxhbnRlZDI", *(it.split(":")[2] for it in TOKENS.split())):
            assert secret not in text_.replace("x:planted:", "")
