"""The reference of the command line, made of the commands themselves.

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

Made of the commands by `python -m deployments.reference.cli`; a test holds it against them. Each also says this by
`--help`.

Exit status 0 is done, 1 failed, 2 used wrongly. An error is one line on stderr. A time is ISO 8601; one without an
offset is in the `timezone` of the [settings](configuration.md). All obey the
[variables](configuration.md#variables-of-the-environment) of the environment.
"""


def page() -> str:
    """The reference as Markdown."""
    return "\n".join([_HEAD, *(_section(context) for context in contexts())])


def contexts() -> Iterator[typer.Context]:
    """Every command that is not hidden, each with where it stands, in the order of `--help`."""
    command = typer.main.get_command(app)
    yield from _within(typer.Context(command, info_name=command.name))


def write(path: Path = PAGE) -> None:
    """Write the page anew."""
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
