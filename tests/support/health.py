"""What the doctor's checks look at, for the tests of each of them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from models.context import Workplace
from models.environment import Environment
from models.settings import parse_settings
from tasks.health.check import Finding
from tasks.health.context import Scene
from tasks.health.runner import checks_of, examine
from tests.support.contexts import NOW

TIMEOUT_S = 120.0
"""More than any check takes, on a machine that is busy too."""


def scene_of(place: Workplace, now: datetime = NOW) -> Scene:
    return Scene(place.environment, place.settings, clock=lambda: now)


def changed(place: Workplace, **environment: Any) -> Workplace:
    return Workplace(place.environment.model_copy(update=environment), place.settings)


def found(name: str, scene: Scene) -> Finding:
    """What the check of that name finds."""
    (checked,) = examine([it for it in checks_of(scene) if it.name == name], timeout_s=TIMEOUT_S)
    return checked.finding


def of(home: Path, settings: dict[str, Any] | None = None, **environment: Any) -> Scene:
    """A scene without a database."""
    return Scene(Environment(home=home, **environment), parse_settings(settings or {}, "test"), clock=lambda: NOW)
