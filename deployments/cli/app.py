"""The command line. Each command imports the heavy libraries that it needs, so that `--help` is quick."""

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
from deployments.cli import quarantine as setting_aside
from deployments.cli import rollouts as rolling_out
from deployments.console import complain, say, write_by_line
from deployments.log_config import use_logs
from deployments.service.ports import LOOPBACK, PAGE_PORT, UI_PORT
from models.errors import RoutewatchError, UsageError
from models.file_format import FileFormat, in_order
from models.file_modes import use_umask
from models.period import PeriodName
from models.report_template import Template

app = typer.Typer(
    name="routewatch",
    help="Monitors an AI-model router, tunes it, verifies that the tuning helped, and reports.",
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
app.add_typer(setting_aside.quarantine, name="quarantine")
app.add_typer(rolling_out.rollouts, name="rollouts")


class ScheduleName(StrEnum):
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"


def main() -> None:
    """Run the command line; exits with 0 on success, 1 on failure, 2 on wrong use. Errors are one line on stderr."""
    # A command keeps nearly all objects that its imports create: collecting garbage that often finds none.
    gc.set_threshold(20_000, 20, 20)
    use_umask()
    write_by_line()
    use_logs()
    # In a terminal Prefect reports usage to its vendor when any command first imports it, unless this is set before.
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
        # The reader closed the pipe; redirecting stdout keeps the interpreter from reporting an error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    except Exception as error:  # noqa: BLE001 - last resort: a defect is reported in one line too
        status = _misuse_or_defect(error)
    sys.exit(status if isinstance(status, int) else 0)


@app.command()
def init() -> None:
    """Create the database, or migrate it to the current revision."""
    from models.database import migrate, steps_between
    from models.environment import load_environment

    before, after = migrate(load_environment().database_address)
    if before is None or before == after:
        say(f"the database {'was created' if before is None else 'is up to date'} (revision {after})")
        return
    say(f"the database was migrated from revision {before} to {after}")
    for revision, text in steps_between(before, after):
        say(f"  {revision} {text}")


@app.command(name="import")
def import_(
    files: Annotated[list[Path], typer.Argument(help="CSV, Parquet or JSONL files of selections.", show_default=False)],
    mapping: Annotated[Path | None, typer.Option("--map", help="Mapping file; see docs/import.md.")] = None,
) -> None:
    """Import selections. Invalid rows are rejected and listed; importing a file again adds nothing."""
    from deployments.cli.import_files import import_files
    from models.context import load_context

    raise typer.Exit(import_files(load_context(), files, mapping))


@app.command()
def pull(
    source: Annotated[
        str | None,
        typer.Argument(
            help="litellm, langfuse … or a name from the settings. Default: all in the settings.", show_default=False
        ),
    ] = None,
    location: Annotated[
        str | None, typer.Option("--from", help="Address or files, instead of the settings'; $NAME: a variable.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Re-read everything since this time (ISO 8601), even if it was pulled before.")
    ] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the result of a pull; write nothing.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Show each source's progress.")] = False,
) -> None:
    """Pull selections from the router's existing logs, starting where the last pull ended."""
    from deployments.cli.pull import list_sources, preview_one, pull_all, pull_one
    from models.context import load_context
    from models.period import parse_instant

    ctx, now = load_context(), datetime.now(UTC)
    start = parse_instant(since, ctx.settings.timezone) if since else None
    if listed:
        list_sources(ctx)
    elif source is None:
        if location is not None or dry_run:
            raise UsageError("--from and --dry-run need the name of one source")
        raise typer.Exit(pull_all(ctx, start, now))
    elif dry_run:
        preview_one(ctx, source, location, start)
    else:
        pull_one(ctx, source, location, start, now)


@app.command()
def run(
    schedule: ScheduleName,
    as_of: Annotated[str | None, typer.Option(help="Run as of this time (ISO 8601).")] = None,
) -> None:
    """Run one flow now, in this process."""
    from deployments.cli.run import run_schedule
    from models.context import load_context
    from models.period import parse_instant

    ctx = load_context()
    at = parse_instant(as_of, ctx.settings.timezone) if as_of else None
    raise typer.Exit(run_schedule(ctx, schedule.value, at))


@app.command()
def report(
    template: Template,
    start: Annotated[str | None, typer.Option("--from", help="Start of the period (ISO 8601).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End of the period (exclusive).")] = None,
    last: Annotated[str | None, typer.Option(help="Report on the most recent span, for example 24h or 7d.")] = None,
    period_name: Annotated[
        PeriodName | None, typer.Option("--period", help='Named period, for example "last week".')
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="Only this model; can be repeated.")] = None,
    team: Annotated[list[str] | None, typer.Option(help="Only this team; can be repeated.")] = None,
    complexity: Annotated[list[str] | None, typer.Option(help="Only this complexity; can be repeated.")] = None,
    formats: Annotated[
        list[FileFormat] | None,
        typer.Option("--format", help="Can be repeated. Default: the suffix of -o, else html; all with --send-to."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File or folder to write to.")] = None,
    send_to: Annotated[
        list[str] | None,
        typer.Option(help="Store the report and send it to this name in delivery.recipients; can be repeated."),
    ] = None,
    *,
    summary: Annotated[bool, typer.Option("--summary", help="Short version, one or two pages.")] = False,
) -> None:
    """Write or send a report about any period. A single HTML or JSON report goes to stdout if -o is not given."""
    from deployments.cli.report import formats_of, period_of, send_report, write_report
    from models.context import load_context
    from models.documents import Filters
    from tasks.reporting.request import Request

    if period_name is not None and last is not None:
        raise UsageError("--period and --last cannot be combined")
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
    start: Annotated[str | None, typer.Option("--from", help="Only the weeks since this time.")] = None,
    end: Annotated[str | None, typer.Option("--to", help="Only the weeks until this time.")] = None,
) -> None:
    """Rebuild the rollups from the raw rows."""
    from deployments.cli.report import rebuild_rollups
    from models.context import load_context

    rebuild_rollups(load_context(), start, end, datetime.now(UTC))


@app.command()
def demo() -> None:
    """Run a complete demo on a simulated router; needs no setup."""
    from deployments.demo.run import run_demo

    raise typer.Exit(run_demo())


Host = Annotated[str, typer.Option(help="Address to listen on.")]
Proxied = Annotated[
    bool, typer.Option("--proxied", help="A proxy forwards requests from other machines: require passwords and tokens.")
]


@app.command()
def page(
    host: Host = LOOPBACK,
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = PAGE_PORT,
    *,
    proxied: Proxied = False,
) -> None:
    """Serve the live page. While it runs, it updates rollups, evaluates alerts and sends deliveries."""
    from deployments.service.page_server import serve_page
    from models.context import load_context

    serve_page(load_context(), host, port, is_proxied=proxied)


@app.command()
def serve(
    host: Host = LOOPBACK,
    ui_port: Annotated[
        int,
        typer.Option(help="Port of the Prefect server and its UI.", min=1, max=65535, envvar="PREFECT_SERVER_API_PORT"),
    ] = UI_PORT,
    page_port: Annotated[int, typer.Option(help="Port of the live page.", min=1, max=65535)] = PAGE_PORT,
    *,
    proxied: Proxied = False,
) -> None:
    """Run the scheduler and the live page, and a Prefect server with its UI if none is configured."""
    from deployments.service.serve import Where, serve_all
    from models.context import load_context

    raise typer.Exit(serve_all(load_context(), Where(host, ui_port, page_port, is_proxied=proxied)))


class PoolKind(StrEnum):
    PROCESS = "process"
    DOCKER = "docker"
    KUBERNETES = "kubernetes"


@app.command()
def deploy(
    pool: Annotated[str, typer.Option(help="Work pool whose workers run the schedules.")] = "routewatch",
    kind: Annotated[
        PoolKind | None, typer.Option("--type", help="Type of pool to create if none of this name exists.")
    ] = None,
    image: Annotated[str | None, typer.Option(help="Image for the runs of docker and kubernetes pools.")] = None,
) -> None:
    """Create or update the deployments on the Prefect server at PREFECT_API_URL. Repeat after each upgrade."""
    from deployments.cli.deploy import deploy_schedules
    from models.context import load_context

    deploy_schedules(load_context(), pool, None if kind is None else kind.value, image)


@app.command()
def worker(
    pool: Annotated[str, typer.Option(help="Work pool whose runs it starts.")] = "routewatch",
    limit: Annotated[int | None, typer.Option(help="Maximum number of concurrent runs.", min=1)] = None,
) -> None:
    """Start a Prefect worker for the deployments of `routewatch deploy`; PREFECT_API_URL names the server."""
    from deployments.cli.worker import start_worker

    start_worker(pool, limit)


def _misuse_or_defect(error: Exception) -> int:
    if hasattr(error, "format_message"):
        complain(f"{error.format_message()} (see `routewatch --help`)")
        return 2
    if "ROUTEWATCH_DEBUG" in os.environ:
        raise error
    complain(f"internal error: {type(error).__name__}: {error} (ROUTEWATCH_DEBUG=1 shows where)")
    return 1
