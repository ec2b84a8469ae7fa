"""Commands that show and change the router's config and the deliveries."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from deployments.console import note, say, table
from models.ids import LARGEST_ID

config = typer.Typer(help="The router's config and its history.", no_args_is_help=True)
deliveries = typer.Typer(help="Deliveries of reports and notifications.", no_args_is_help=True)


@config.command("get")
def config_get(key: Annotated[str | None, typer.Argument(help="Only this key. Default: all keys.")] = None) -> None:
    """Print the config as JSON. Keys that cannot be read are named on stderr."""
    from models.context import load_context
    from models.errors import UsageError
    from tasks.optimizer.router_config import read_whole_config
    from tasks.optimizer.router_values import Setting, UnreadableSetting

    settings = read_whole_config(load_context().engine)
    if key is not None and key not in settings:
        raise UsageError(f"the config has no key {key!r}; it has {', '.join(settings) or 'no keys yet'}")
    unreadable = [it for it in settings.values() if isinstance(it, UnreadableSetting) and key in (None, it.key)]
    if key is not None and unreadable:
        raise UsageError(str(unreadable[0]))
    for setting in unreadable:
        note(str(setting))
    values = {name: setting.value for name, setting in settings.items() if isinstance(setting, Setting)}
    say(json.dumps(values if key is None else values[key], indent=2, ensure_ascii=False))


@config.command("set", context_settings={"ignore_unknown_options": True})
def config_set(
    key: str,
    value: Annotated[str, typer.Argument(help="JSON, or plain text.")],
    reason: Annotated[str, typer.Option(help="Reason, for the history.")] = "set by hand",
) -> None:
    """Set a key to a value, also one that cannot be read. A negative number needs no quotes."""
    from models.context import load_context
    from tasks.optimizer.router_config import set_by_hand

    ctx, now = load_context(), datetime.now(UTC)
    version = set_by_hand(ctx.engine, key, _json_or_text(value), by=getpass.getuser(), reason=reason, now=now)
    say(f"{key} = {value} (version {version})")


@config.command("history")
def config_history(key: Annotated[str | None, typer.Argument(help="Only this key. Default: all keys.")] = None) -> None:
    """Show all changes with their time, author and reason, newest first."""
    from models.context import load_context
    from tasks.optimizer.router_config import history

    rows = [
        (
            _stamp(row.changed_at),
            row.key,
            json.dumps(row.from_value),
            json.dumps(row.to_value),
            row.changed_by,
            row.reason,
        )
        for row in history(load_context().engine, key)
    ]
    table(("when", "key", "from", "to", "by", "why"), rows, "no changes yet")


@deliveries.command("list")
def deliveries_list() -> None:
    """Show the deliveries, newest first."""
    from models.context import load_context
    from tasks.delivery.queries import list_deliveries

    rows = [
        (str(row.id), row.what, row.channel, row.recipient, row.state, str(row.attempts), row.answer or "")
        for row in list_deliveries(load_context().engine)
    ]
    table(("id", "what", "channel", "recipient", "state", "attempts", "last answer"), rows, "no deliveries yet")


@deliveries.command("retry")
def deliveries_retry(
    delivery_id: Annotated[int | None, typer.Argument(metavar="ID", min=1, max=LARGEST_ID, show_default=False)] = None,
    *,
    all_dead: Annotated[bool, typer.Option("--all-dead", help="All dead letters, instead of one delivery.")] = False,
) -> None:
    """Requeue a dead letter or a delivery of uncertain outcome; the next run sends it."""
    from models.context import load_context
    from models.errors import UsageError
    from tasks.delivery.queue import retry, retry_all_dead_letters

    if (delivery_id is None) is not all_dead:
        raise UsageError("give the id of one delivery, or --all-dead for all dead letters")
    engine, now = load_context().engine, datetime.now(UTC)
    if delivery_id is None:
        count = retry_all_dead_letters(engine, now)
        say(f"{count} {'delivery' if count == 1 else 'deliveries'} requeued; the next run sends them")
        return
    retry(engine, delivery_id, now)
    say(f"delivery {delivery_id} requeued; the next run sends it")


@deliveries.command("test")
def deliveries_test(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|EMAIL|URL",
            help="Names in delivery.recipients, console or dashboard; or ops@example.org, https://…, slack+https://…, "
            "secret:NAME, which need not be in the settings.",
        ),
    ],
) -> None:
    """Send a test message and print each response. Exits with 1 if it is not sent.

    For names, all other due deliveries are sent too.
    """
    from deployments.cli.delivery_test import send_tests

    raise typer.Exit(0 if send_tests(targets) else 1)


@deliveries.command("sample", hidden=True)
def deliveries_sample(names: Annotated[list[str], typer.Argument(metavar="NAME")]) -> None:
    """Deprecated: `routewatch deliveries test`."""
    from deployments.cli.delivery_test import send_to_names

    note("`deliveries sample` is deprecated and will be removed in the next release: use `routewatch deliveries test`")
    raise typer.Exit(0 if send_to_names(names) else 1)


# ----------------------------------------------------------------------------------------------------------------------


def _json_or_text(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _stamp(instant: datetime) -> str:
    return instant.isoformat(sep=" ", timespec="minutes")
