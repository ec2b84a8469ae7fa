"""The command line. Heavy libraries are imported by the command that needs them, so that `--help` is quick."""

from __future__ import annotations

import gc
import os
import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from deployments.cli import alerts as alerting
from deployments.cli import config_and_deliveries as tables
from deployments.cli import doctor_commands as checking
from deployments.cli import optimizations as optimizing
from deployments.console import complain, say, write_by_line
from deployments.log_config import use_logs
from deployments.service.ports import LOOPBACK, PAGE_PORT, UI_PORT
from models.errors import RoutewatchError, UsageError
from models.file_format import FileFormat, in_order
from models.period import PeriodName
from models.report_template import Template

app = typer.Typer(
    name="routewatch",
    help="Watches an AI-model router, measures it, tunes it, proves that the tuning helped, and reports.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

app.command()(checking.doctor)
app.command(hidden=True)(checking.test_delivery)
app.add_typer(alerting.alerts, name="alerts")
app.add_typer(tables.config, name="config")
app.add_typer(tables.deliveries, name="deliveries")
app.add_typer(optimizing.optimizations, name="optimizations")


class ScheduleName(StrEnum):
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"


def main() -> None:
    """Run the command line; exit status 0 done, 1 failed, 2 used wrongly. Errors are one line on stderr."""
    # Nearly all that a command makes while it imports is kept: looking through it for garbage so often finds none.
    gc.set_threshold(20_000, 20, 20)
    write_by_line()
    use_logs()
    # In a terminal Prefect tells its makers when it is first imported, by whatever command, unless this is set before.
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        status = app(standalone_mode=False)
    except RoutewatchError as error:
        complain(str(error))
        status = error.exit_status
    except KeyboardInterrupt:
        complain("stopped")
        status = 130
    except BrokenPipeError:
        # The reader of a pipe has enough; pointing stdout away keeps the interpreter from complaining at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:  # noqa: BLE001 - the last resort: a defect is told in one line too
        status = _misuse_or_defect(error)
    sys.exit(status if isinstance(status, int) else 0)


@app.command()
def init() -> None:
    """Create the database, or bring its tables up to date."""
    from models.database import migrate, steps_between
    from models.environment import load_environment

    before, after = migrate(load_environment().database_address)
    if before is None or before == after:
        say(f"the database {'was created' if before is None else 'is up to date'} (revision {after})")
        return
    say(f"the database was brought up from revision {before} to {after}")
    for revision, text in steps_between(before, after):
        say(f"  {revision} {text}")


@app.command(name="import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="CSV, Parquet or JSONL files of selections.", show_default=False)],
    mapping: Annotated[Path | None, typer.Option("--map", help="A mapping file; see docs/import.md.")] = None,
) -> None:
    """Import selections. Bad rows are listed, good ones kept; importing again adds nothing."""
    from deployments.cli.import_files import import_files
    from models.context import load_context

    raise typer.Exit(import_files(load_context(), files, mapping))


@app.command()
def pull(
    source: Annotated[
        str | None,
        typer.Argument(
            help="litellm, langfuse … or a name of the settings; all of those without it.", show_default=False
        ),
    ] = None,
    location: Annotated[
        str | None, typer.Option("--from", help="Its address or files, instead of the settings'; $NAME: a variable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Everything from this time on (ISO 8601), read already or not.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would come of it; write nothing.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show how far each source was pulled.")] = False,
) -> None:
    """Pull selections from where the router's picks are logged already, from where the last pull left off."""
    from deployments.cli.pull import list_sources, preview_one, pull_all, pull_one
    from models.context import load_context
    from models.period import parse_instant

    ctx, now = load_context(), datetime.now(UTC)
    start = parse_instant(since, ctx.settings.timezone) if since else None
    if listed:
        list_sources(ctx)
    elif source is None:
        if location is not None or dry_run:
            raise UsageError("--from and --dry-run are of one source: name it")
        raise typer.Exit(pull_all(ctx, start, now))
    elif dry_run:
        preview_one(ctx, source, location, start)
    else:
        pull_one(ctx, source, location, start, now)


@app.command()
def run(
    schedule: ScheduleName,
    as_of: Annotated[str | None, typer.Option(help="Act as though it were this time (ISO 8601).")] = None,
) -> None:
    """Run one flow, here and now."""
    from deployments.cli.run import run_schedule
    from models.context import load_context
    from models.period import parse_instant

    ctx = load_context()
    at = parse_instant(as_of, ctx.settings.timezone) if as_of else None
    raise typer.Exit(run_schedule(ctx, schedule.value, at))


@app.command()
def report(
    template: Template,
    start: Annotated[str | None, typer.Option("--from", help="Where the period begins (ISO 8601).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Where it ends; this instant is not in it.")] = None,
    last: Annotated[str | None, typer.Option(help="The time up to now instead, such as 24h or 7d.")] = None,
    period_name: Annotated[
        PeriodName | None, typer.Option("--period", help='A period by its name instead, such as "last week".')
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model; can be repeated.")] = None,
    team: Annotated[list[str] | None, typer.Option(help="Only this team; can be repeated.")] = None,
    complexity: Annotated[list[str] | None, typer.Option(help="Only this complexity; can be repeated.")] = None,
    formats: Annotated[
        list[FileFormat] | None,
        typer.Option("--format", help="Can be repeated. By default what -o ends in, else html; sent: all of them."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The file to write, or a folder.")] = None,
    send_to: Annotated[
        list[str] | None,
        typer.Option(help="Store it and send it to this name of delivery.recipients; can be repeated."),
    ] = None,
    *,
    summary: Annotated[bool, typer.Option("--summary", help="A page or two instead of everything.")] = False,
) -> None:
    """Write a report about any period, or send it. HTML or JSON alone goes to stdout where no file is named."""
    from deployments.cli.report import formats_of, period_of, send_report, write_report
    from models.context import load_context
    from models.documents import Filters
    from tasks.reporting.request import Request

    if period_name is not None and last is not None:
        raise UsageError("--period and --last name the period both: give one of them")
    ctx, now = load_context(), datetime.now(UTC)
    period = period_of(start, end, period_name or last, ctx.settings.timezone, now)
    filters = Filters(models=tuple(model or ()), teams=tuple(team or ()), complexities=tuple(complexity or ()))
    depth: Literal["summary", "detailed"] = "summary" if summary else "detailed"
    chosen = in_order(formats or ()) or formats_of(ctx, output, sent=bool(send_to))
    request = Request("custom", template, period, depth, filters=filters, formats=chosen)
    if send_to:
        raise typer.Exit(send_report(ctx, request, tuple(send_to), output, now))
    write_report(ctx, request, output, now)


@app.command()
def rebuild(
    start: Annotated[str | None, typer.Option("--from", help="Only the weeks from this time on.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only the weeks up to this time.")] = None,
) -> None:
    """Make the rollups anew from the raw rows."""
    from deployments.cli.report import rebuild_rollups
    from models.context import load_context

    rebuild_rollups(load_context(), start, end, datetime.now(UTC))


@app.command()
def demo() -> None:
    """Show all of it on the simulated router; nothing else is needed."""
    from deployments.demo.run import run_demo

    raise typer.Exit(run_demo())


Host = Annotated[str, typer.Option(help="The address to listen at.")]
Proxied = Annotated[
    bool, typer.Option("--proxied", help="Others come in through a proxy: passwords and tokens are needed.")
]


@app.command()
def page(
    host: Host = LOOPBACK,
    port: Annotated[int, typer.Option(help="The port to listen at.", min=1, max=65535)] = PAGE_PORT,
    *,
    proxied: Proxied = False,
) -> None:
    """Serve the live page: what the router does right now. It folds, judges and delivers while it runs."""
    from deployments.service.page_server import serve_page
    from models.context import load_context

    serve_page(load_context(), host, port, is_proxied=proxied)


@app.command()
def serve(
    host: Host = LOOPBACK,
    ui_port: Annotated[
        int,
        typer.Option(
            help="The Prefect server's and its UI's port.", min=1, max=65535, envvar="PREFECT_SERVER_API_PORT"
        ),
    ] = UI_PORT,
    page_port: Annotated[int, typer.Option(help="The live page's port.", min=1, max=65535)] = PAGE_PORT,
    *,
    proxied: Proxied = False,
) -> None:
    """Serve the timetable and the live page, with a Prefect server and its UI where none is configured."""
    from deployments.service.serve import Where, serve_all
    from models.context import load_context

    raise typer.Exit(serve_all(load_context(), Where(host, ui_port, page_port, is_proxied=proxied)))


class PoolKind(StrEnum):
    PROCESS = "process"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"


@app.command()
def deploy(
    pool: Annotated[str, typer.Option(help="The work pool whose workers run the timetable.")] = "routewatch",
    kind: Annotated[
        PoolKind | None, typer.Option("--type", help="What kind of pool to create where there is none of the name.")
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="The image that runs are started in; for docker and kubernetes.")
    ] = None,
) -> None:
    """Apply the timetable to the Prefect server that PREFECT_API_URL names, for workers; again after each upgrade."""
    from deployments.cli.deploy import deploy_schedules
    from models.context import load_context

    deploy_schedules(load_context(), pool, None if kind is None else kind.value, image)


@app.command()
def worker(
    pool: Annotated[str, typer.Option(help="The work pool whose runs it starts.")] = "routewatch",
    limit: Annotated[int | None, typer.Option(help="How many runs it starts at once.", min=1)] = None,
) -> None:
    """Start a Prefect worker that runs what `routewatch deploy` applied; PREFECT_API_URL names the server."""
    from deployments.cli.worker import start_worker

    start_worker(pool, limit)


def _misuse_or_defect(error: Exception) -> int:
    if hasattr(error, "format_message"):
        complain(f"{error.format_message()} (`routewatch --help` tells the ways to call it)")
        return 2
    if "ROUTEWATCH_DEBUG" in os.environ:
        raise error
    complain(f"a defect of Routewatch: {type(error).__name__}: {error} (ROUTEWATCH_DEBUG=1 shows where)")
    return 1
