"""A clock that tests can set, in the place of the machine's."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo

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
