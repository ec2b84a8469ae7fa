"""The complete settings, and reading them from a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field, ValidationError, field_validator

from models.errors import Fault, SettingsError
from models.period import is_zone
from models.settings.block import SettingsBlock
from models.settings.delivery import DeliverySettings
from models.settings.ingestion import Ingestion
from models.settings.monitoring import Monitoring, PerformanceMetrics
from models.settings.optimizer import Optimizer
from models.settings.reporting import Budget, Reporting
from models.settings.sources import LONGEST_SOURCE_NAME, SourceKind, SourceSettings
from models.text_files import read_text


class Settings(SettingsBlock):
    """Everything a settings file may hold; each key optional."""

    timezone: str = "UTC"
    """The time zone of days, weeks and the schedule, an IANA name such as `Europe/Berlin`."""
    performance_metrics: PerformanceMetrics = PerformanceMetrics()
    """The limits of the KPIs. A value exactly at a limit has not crossed it."""
    monitoring: Monitoring = Monitoring()
    """Monitoring, alerts and retention."""
    reporting: Reporting = Reporting()
    """Reports: schedule, recipients and format."""
    budget: Budget = Budget()
    """The monthly budget for the models."""
    optimizer: Optimizer = Optimizer()
    """What the optimizer may do automatically."""
    delivery: DeliverySettings = DeliverySettings()
    """Delivery of reports and messages."""
    ingestion: Ingestion = Ingestion()
    """What happens to selections that cannot be counted."""
    sources: dict[str, SourceSettings] = Field(default={})
    """Sources of selections, by name; a name that is a kind needs no `kind`."""

    @field_validator("sources")
    @classmethod
    def _known_kinds(cls, sources: dict[str, SourceSettings]) -> dict[str, SourceSettings]:
        kinds = [kind.value for kind in SourceKind]
        faults = [f"{name}: names no kind, and is none of {', '.join(kinds)} itself"
                  for name, source in sources.items() if source.kind is None and name not in kinds]  # fmt: skip
        faults += [f"{name[:40]}…: has {len(name):,} characters; a name has at most {LONGEST_SOURCE_NAME}"
                   for name in sources if len(name) > LONGEST_SOURCE_NAME]  # fmt: skip
        if faults:
            raise ValueError("; ".join(faults))
        return sources

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        if not is_zone(name):
            raise ValueError(f"{name!r} is not an IANA time zone such as Europe/Berlin")
        ZoneInfo(name)
        return name


def load_settings(path: Path | None) -> Settings:
    """Read the settings of a JSON file, or the defaults if `path` is None.

    Raises SettingsError with every fault at once.
    """
    if path is None:
        return Settings()
    try:
        data: Any = json.loads(read_text(path), object_pairs_hook=_refuse_duplicates)
    except OSError as error:
        raise SettingsError(str(path), [Fault("file", error.strerror or str(error))]) from error
    except ValueError as error:
        raise SettingsError(str(path), [Fault("file", f"is not valid JSON: {error}")]) from error
    except RecursionError:
        raise SettingsError(str(path), [Fault("file", "is not valid JSON: its blocks are nested too deeply")]) from None
    return parse_settings(data, str(path))


def parse_settings(data: object, source: str) -> Settings:
    """Settings from parsed JSON. Raises SettingsError with every fault at once, named after `source`."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        raise SettingsError(source, faults_of(error)) from error


def faults_of(error: ValidationError) -> list[Fault]:
    """Convert a pydantic error to faults, one per path, in Routewatch's own wording."""
    return [_fault(dict(item)) for item in error.errors(include_url=False)]


_MAY_BE_SECRET = ("delivery.recipients", "sources", "smtp_password", "webhook_secret", "database_url", "tokens")
"""Error types whose faults do not show the value found."""


def _fault(item: dict[str, Any]) -> Fault:
    path = ".".join(map(str, item["loc"])) or "file"
    if item["type"] == "extra_forbidden":
        return Fault(path, "is not a known setting")
    problem = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "value_error" or isinstance(item["input"], dict) or path.startswith(_MAY_BE_SECRET):
        return Fault(path, problem)
    return Fault(path, f"{problem} (found {item['input']!r:.80})")


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"the key {twice[0]!r} occurs twice in one block")
    return dict(pairs)
