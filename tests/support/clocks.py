"""A clock that tests can set, in the place of the machine's."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest

import models.clock


@dataclass
class Clock:
    """The machine's clock, and how far it is off."""

    off: timedelta = field(default=timedelta())

    def now(self, zone: tzinfo | None = None) -> datetime:
        return datetime.now(zone) + self.off

    @classmethod
    def of_this_machine(cls, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Let everything that asks models.clock ask this one."""
        clock = cls()
        monkeypatch.setattr(models.clock, "datetime", clock)
        return clock

    @classmethod
    def of_all_modules(cls, monkeypatch: pytest.MonkeyPatch) -> Clock:
        """Let every loaded module of ours ask this one, also those that ask for the time themselves."""
        clock = cls()

        class AnyDatetime(type):
            def __instancecheck__(cls, instance: Any) -> bool:
                return isinstance(instance, datetime)

        class SetDatetime(datetime, metaclass=AnyDatetime):
            """Makes datetimes of the usual class, and differs in what the time is."""

            def __new__(cls, *args: Any, **more: Any) -> Any:
                return datetime(*args, **more)  # noqa: DTZ001 - as the module says

            now = staticmethod(clock.now)  # type: ignore[assignment]
            fromisoformat = staticmethod(datetime.fromisoformat)  # type: ignore[assignment]

        for name, module in list(sys.modules.items()):
            is_ours = name.partition(".")[0] in ("routewatch", "models", "tasks", "dashboard")
            if is_ours and vars(module).get("datetime") is datetime:
                monkeypatch.setattr(module, "datetime", SetDatetime)
        return clock
