"""Logs: lines for people on a terminal, a line of JSON each elsewhere.

A process that imports Prefect logs by way of Prefect's own set-up, which reads logging.yml, or the file that the user
has named instead. One that does not import it writes the same lines to the same place.
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
"""What a record may bear beside its message, and what a line calls it. Anything else that it bears is left out."""


def use_logs(level: str | None = None) -> None:
    """Have this process and those that it starts log this way, before Prefect is imported; what the user has set wins.

    `level` is from which on Prefect and Routewatch log, where ROUTEWATCH_LOG_LEVEL does not say.
    """
    # What is started writes into a pipe, but for the same eyes.
    os.environ["ROUTEWATCH_LOG_FORMAT"] = "json" if _is_json() else "text"
    os.environ.setdefault("PREFECT_LOGGING_SETTINGS_PATH", str(CONFIGURATION))
    level = os.environ.get("ROUTEWATCH_LOG_LEVEL", "").upper() or level
    if level:
        for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_LOGGERS_ROUTEWATCH_LEVEL"):
            os.environ.setdefault(name, level)
    ours = os.environ.get("PREFECT_LOGGING_LOGGERS_ROUTEWATCH_LEVEL", "WARNING")
    # One that there is not is told as a fault of the environment.
    if ours in logging.getLevelNamesMapping():
        logging.getLogger("routewatch").setLevel(ours)
    if not logging.root.handlers:
        logging.root.addHandler(_UntilPrefect())


def formatter() -> logging.Formatter:
    """What writes the lines, of whatever library they come: named in logging.yml."""
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
    """Writes what is logged by a process that has not imported Prefect.

    Prefect puts its own in this one's place: it takes a handler without a formatter, of such a name, for nobody's.
    """

    def handle(self, record: logging.LogRecord) -> bool:
        if Path(os.environ.get("PREFECT_LOGGING_SETTINGS_PATH", CONFIGURATION)) == CONFIGURATION:
            return super().handle(record)
        # The user's own file is Prefect's to read. No lock is held meanwhile, as what is imported may log too.
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
    asked = os.environ.get("ROUTEWATCH_LOG_FORMAT", "").lower()
    return asked == "json" or (asked != "text" and not sys.stderr.isatty())


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
    """No secret of the environment is in a line, not even in an error that a library wrote."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._secrets = secrets

    def __call__(self, _logger: Any, _name: str, event: EventDict) -> EventDict:
        return {key: redact(str(value), self._secrets) if _is_text(value) else value for key, value in event.items()}


def _is_text(value: object) -> bool:
    return not isinstance(value, int | float | bool)


def _as_json(line: EventDict, **_: Any) -> str:
    import orjson

    return orjson.dumps(line).decode()
