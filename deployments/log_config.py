"""Log configuration: plain lines on a terminal, JSON lines elsewhere.

A process that imports Prefect logs through Prefect's set-up, which reads logging.yml, or the file that the user
configured instead. One that does not import it writes the same lines to the same stream.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from models.redaction import hide
from models.text_direction import without_controls
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
    hide_secrets()
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

    # Prefect calls it in each process of a run.
    hide_secrets()
    processors: list[Processor] = [_line, structlog.processors.format_exc_info, _without_secrets]
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


def _without_secrets(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """Redact the secrets in a line, even in a library's error, and what would control the terminal."""
    return {key: without_controls(hide(str(value))) if _is_text(value) else value for key, value in event.items()}


_make_record = logging.getLogRecordFactory()


def _record_without_secrets(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """A record for handlers of others, such as the one that sends a run's log to Prefect's server."""
    record = _make_record(*args, **kwargs)
    try:
        message = record.getMessage()
        if (hidden := hide(message)) != message:
            record.msg, record.args = hidden, ()
        if record.exc_info and record.exc_info[1] is not None:
            trace = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
            if (hidden := hide(trace)) != trace:
                record.exc_text = hidden
    except Exception:  # noqa: BLE001 - the handler reports a record that cannot be written
        return record
    return record


def _print_without_secrets(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    sys.stderr.write(hide("".join(traceback.format_exception(kind, error, trace))))


def _print_of_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and args.exc_type is not SystemExit:
        sys.stderr.write(f"Exception in thread {args.thread.name if args.thread else '?'}:\n")
        _print_without_secrets(args.exc_type, args.exc_value, args.exc_traceback)


def hide_secrets() -> None:
    """Redact secrets in every log record and traceback of this process from now on."""
    logging.setLogRecordFactory(_record_without_secrets)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _print_without_secrets
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _print_of_thread


def _is_text(value: object) -> bool:
    return not isinstance(value, int | float | bool)


def _as_json(line: EventDict, **_: Any) -> str:
    import orjson

    return orjson.dumps(line).decode()
