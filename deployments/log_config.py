"""Log configuration: plain lines on a terminal, JSON lines elsewhere.

A process that imports Prefect logs through Prefect's set-up, which reads logging.yml, or the file that the user
configured instead. One that does not import it writes the same lines to the same stream.
"""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.redaction import redact, secrets_of
from tasks.run_logger import PREFECT_IMPORTS

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor

CONFIGURATION = Path(__file__).with_name("logging.yml")

IDS = {
    "flow_name": "flow", "flow_run_id": "run_id", "task_name": "task", "report_id": "report_id",
    "delivery_id": "delivery_id",
}  # fmt: skip
"""Extra attributes of a record and their names in a line. Others are omitted."""


def use_logs(level: str | None = None) -> None:
    """Configure logging of this process and its children, before Prefect is imported; the user's own settings win.

    `level` is the log level of Prefect and Routewatch if ROUTEWATCH_LOG_LEVEL is not set.
    """
    # Child processes write into a pipe, but the same user reads it.
    os.environ["ROUTEWATCH_LOG_FORMAT"] = "json" if _is_json() else "text"
    os.environ.setdefault("PREFECT_LOGGING_SETTINGS_PATH", str(CONFIGURATION))
    level = os.environ.get("ROUTEWATCH_LOG_LEVEL", "").upper() or level
    if level:
        for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_LOGGERS_ROUTEWATCH_LEVEL"):
            os.environ.setdefault(name, level)
    ours = os.environ.get("PREFECT_LOGGING_LOGGERS_ROUTEWATCH_LEVEL", "WARNING")
    # An unknown level is reported as a fault of the environment.
    if ours in logging.getLevelNamesMapping():
        logging.getLogger("routewatch").setLevel(ours)
    if not logging.root.handlers:
        logging.root.addHandler(_UntilPrefect())


def formatter() -> logging.Formatter:
    """Handler that writes the lines of all libraries; its name is in logging.yml."""
    import structlog

    processors: list[Processor] = [_line, structlog.processors.format_exc_info, _Hiding(secrets_of(os.environ))]
    if _is_json():
        processors.append(structlog.processors.JSONRenderer(serializer=_as_json))
    else:
        colours = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=colours, event_key="message", timestamp_key="time", pad_event_to=0, pad_level=True,
                sort_keys=False, exception_formatter=structlog.dev.plain_traceback,
            )
        )  # fmt: skip
    return structlog.stdlib.ProcessorFormatter(processors=processors)


# ----------------------------------------------------------------------------------------------------------------------


class _UntilPrefect(logging.Handler):
    """Write the log of a process that has not imported Prefect.

    Prefect replaces it by its own handler, as it has no formatter and its class has this name.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        if Path(os.environ.get("PREFECT_LOGGING_SETTINGS_PATH", CONFIGURATION)) == CONFIGURATION:
            return super().handle(record)
        # Prefect reads the user's own file. No lock is held meanwhile, as the imports may log too.
        with PREFECT_IMPORTS:
            import prefect.main  # noqa: F401 - it sets logging up
        if self in logging.root.handlers:
            return super().handle(record)
        logging.getLogger(record.name).handle(record)
        return True

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(self._lines.format(record) + "\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - as every handler of the standard library does
            self.handleError(record)

    @cached_property
    def _lines(self) -> logging.Formatter:
        return formatter()


def _is_json() -> bool:
    format_name = os.environ.get("ROUTEWATCH_LOG_FORMAT", "").lower()
    return format_name == "json" or (format_name != "text" and not sys.stderr.isatty())


def _line(_logger: Any, _name: str, event: EventDict) -> EventDict:
    record: logging.LogRecord = event["_record"]
    at = datetime.fromtimestamp(record.created, UTC)
    line = {
        "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": event["event"],
    }
    line |= {text: value for name, text in IDS.items() if (value := record.__dict__.get(name)) is not None}
    if "exc_info" in event:
        line["exc_info"] = event["exc_info"]
    return line


class _Hiding:
    """Redact the secrets of the environment in a line, even in a library's error."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    def __call__(self, _logger: Any, _name: str, event: EventDict) -> EventDict:
        return {key: redact(str(value), self._secrets) if _is_text(value) else value for key, value in event.items()}


def _is_text(value: object) -> bool:
    return not isinstance(value, int | float | bool)


def _as_json(line: EventDict, **_: Any) -> str:
    import orjson

    return orjson.dumps(line).decode()
