"""Reference of the command line, generated from the commands.

`python -m deployments.reference.cli` writes it to docs/commands.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import typer
from typer.core import TyperGroup

from deployments.cli.app import app

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"

_HEAD = """\
# Commands

Generated from the commands by `python -m deployments.reference.cli`; a test compares them. `--help` prints the same.

Exit status: 0 success, 1 failure, 2 wrong use. An error is one line on stderr. Times are ISO 8601; a time without an
offset is in the `timezone` of the [settings](configuration.md). All commands read the
[environment variables](configuration.md#variables-of-the-environment).
"""


def page() -> str:
    """Return the reference as Markdown."""
    return "\n".join([_HEAD, *(_section(context) for context in contexts())])


def contexts() -> Iterator[typer.Context]:
    """Yield every visible command with its context, in the order of `--help`."""
    command = typer.main.get_command(app)
    yield from _within(typer.Context(command, info_name=command.name))


def write(path: Path = PAGE) -> None:
    """Regenerate the page."""
    path.write_text(page(), encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------------------


def _within(context: typer.Context) -> Iterator[typer.Context]:
    group = context.command
    if not isinstance(group, TyperGroup):
        return
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is not None and not command.hidden:
            inner = typer.Context(command, info_name=name, parent=context)
            yield inner
            yield from _within(inner)


def _section(context: typer.Context) -> str:
    command, path = context.command, context.command_path
    level = "##" + "#" * path.count(" ", len("routewatch "))
    parts = [f"{level} `{path}`\n", f"{command.help}\n"]
    if isinstance(command, TyperGroup):
        return "\n".join(parts)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    return "\n".join([*parts, f"```text\n{usage}\n```\n", *_parameters(context)])


def _parameters(context: typer.Context) -> Iterator[str]:
    records = [parameter.get_help_record(context) for parameter in context.command.params]
    lines = [
        f"- `{names}`: {' '.join(meaning.split())}".rstrip(": ") + "\n" for names, meaning in filter(None, records)
    ]
    if lines:
        yield "".join(lines)


if __name__ == "__main__":
    write()
