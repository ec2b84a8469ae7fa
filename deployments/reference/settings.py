"""Reference of the settings file's keys and the environment variables, generated from the models.

`python -m deployments.reference.settings` writes it to docs/configuration.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from models.environment import OTHERS, PREFIX, Environment
from models.settings import Settings

Part = Mapping[str, Any]
"""A part of a JSON Schema."""

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"

_HEAD = """\
# Configuration

Generated from `models/settings/` and `models/environment.py` by `python -m deployments.reference.settings`; a test
compares them. [settings.md](settings.md) shows a complete settings file with notes. `routewatch doctor` checks your
settings.

## The settings file

A JSON file at the path in `ROUTEWATCH_SETTINGS`. Every key is optional, except those marked *needed* within a block
that you set. Unknown keys and values out of bounds are rejected, and all are reported at once. A heading is the path
of the keys below it; `NAME` in it is a name of your choice.
"""

_VARIABLES = """\
## Variables of the environment

They contain locations and secrets.
"""

_OTHERS = """\
### Others

"""


@dataclass(frozen=True)
class SettingEntry:
    """One thing that can be set: its path or name, its type in words, its default as JSON, and what it means."""

    path: str
    kind: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Block:
    """Entries that belong together, under a path; the outermost one has none."""

    path: str
    meaning: str
    entries: tuple[SettingEntry, ...]


def page() -> str:
    """Return the reference as Markdown."""
    blocks = [_section(block) for block in settings_blocks()]
    others = [(f"`{name}`", meaning) for name, meaning in OTHERS.items()]
    variables = [
        _VARIABLES,
        _table(Block("", "", variables_of()), "variable"),
        _OTHERS + _rows(("variable", "meaning"), others),
    ]
    return "\n".join([_HEAD, *blocks, *variables])


def settings_blocks(model: type[BaseModel] = Settings) -> tuple[Block, ...]:
    """Return the settings' blocks, each before its nested ones. Raises ValueError if a key has no description."""
    return tuple(_blocks(_schema(model), "", "", {}))


def variables_of() -> tuple[SettingEntry, ...]:
    """Return the environment variables. Raises ValueError if one has no description."""
    parts = {name: _without_null(part) for name, part in _schema(Environment)["properties"].items()}
    return tuple(_entry(f"{PREFIX}{name.upper()}", part, part, show=str) for name, part in parts.items())


def write(path: Path = PAGE) -> None:
    """Regenerate the page."""
    path.write_text(page(), encoding="utf-8")


# ----------------------------------------------------------------------------------------------------------------------


def _schema(model: type[BaseModel]) -> Part:
    schema = model.model_json_schema(by_alias=True)
    whole: Part = _resolved(schema, schema.get("$defs", {}))
    return whole


def _resolved(part: Any, definitions: Part) -> Any:
    """Return a schema with its references resolved; keys beside a reference win."""
    if isinstance(part, list):
        return [_resolved(it, definitions) for it in part]
    if not isinstance(part, dict):
        return part
    own = {key: _resolved(value, definitions) for key, value in part.items() if key not in {"$ref", "$defs"}}
    if "$ref" not in part:
        return own
    return _resolved(definitions[part["$ref"].rpartition("/")[2]], definitions) | own


def _blocks(block: Part, path: str, meaning: str, default: Part) -> Iterator[Block]:
    """Return the block at a path and its nested blocks; `default` is the outer block's value for its keys."""
    entries, within = [], []
    for name, part in block["properties"].items():
        here = f"{path}.{name}" if path else name
        value = {"default": default[name]} if name in default else part
        inner, many = _block_in(part)
        if inner is None:
            entries.append(_entry(here, part, value))
        else:
            where, values = (f"{here}.NAME", {}) if many else (here, value.get("default") or {})
            within.append((inner, where, _meaning(part, here), values))
    yield Block(path, meaning, tuple(entries))
    for inner, where, text, values in within:
        yield from _blocks(inner, where, text, values)


def _block_in(part: Part) -> tuple[Part | None, bool]:
    """Return the block that a key holds, if any, and whether it holds several by name."""
    named = part.get("additionalProperties")
    if isinstance(named, dict) and "properties" in named:
        return named, True
    found = [it for it in (part, *part.get("anyOf", ())) if "properties" in it]
    return (found[0] if found else None), False


def _entry(path: str, part: Part, value: Part, show: Callable[[Any], str] = json.dumps) -> SettingEntry:
    default = value.get("default", ...)
    shown = "*needed*" if default is ... else "none" if default is None else f"`{show(_whole(default))}`"
    return SettingEntry(path, _one_of(_kinds(part)), shown, _meaning(part, path))


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _without_null(part: Part) -> Part:
    """Drop null: a variable is either set or not."""
    return {**part, "anyOf": [it for it in part["anyOf"] if it["type"] != "null"]} if "anyOf" in part else part


def _meaning(part: Part, path: str) -> str:
    if "description" not in part:
        raise ValueError(f"{path} has no description: add a docstring below it in its model")
    return " ".join(str(part["description"]).split())


def _kinds(part: Part) -> list[str]:
    """Return the allowed values in words, one per alternative."""
    if "anyOf" in part:
        return [kind for it in part["anyOf"] for kind in _kinds(it)]
    if "enum" in part:
        return [f"`{it}`" for it in part["enum"]]
    return [_kind(part)]


def _kind(part: Part) -> str:
    match part["type"]:
        case "array":
            least = f"at least {part['minItems']} " if "minItems" in part else ""
            return f"list of {least}{_one_of(_kinds(part['items']), many=True)}"
        case "object":
            return f"names, each with a {_kind(part['additionalProperties'])}"
        case "string":
            pattern = f" that matches `{part['pattern']}`" if "pattern" in part else ""
            return _STRINGS[part.get("format", "")] + pattern
        case plain:
            return _PLAIN[plain] + _bounds(part)


_STRINGS = {"": "text", "path": "path", "password": "secret text"}
_PLAIN = {"integer": "whole number", "number": "number", "boolean": "`true` or `false`", "null": "`null`"}
_BOUNDS = {"minimum": "of at least", "maximum": "of at most", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}


def _bounds(part: Part) -> str:
    if "minimum" in part and "maximum" in part:
        return f" from {part['minimum']} to {part['maximum']}"
    return "".join(f" {words} {part[key]}" for key, words in _BOUNDS.items() if key in part)


def _one_of(kinds: Sequence[str], *, many: bool = False) -> str:
    *first, last = [f"{kind}s" if many and kind == "text" else kind for kind in kinds]
    return f"{', '.join(first)} or {last}" if first else last


def _section(block: Block) -> str:
    heading = [f"### `{block.path}`\n", f"{block.meaning}\n"] if block.path else []
    return "\n".join([*heading, _table(block)] if block.entries else heading)


def _table(block: Block, what: str = "key") -> str:
    """Return a key's path without the part in the heading."""
    before = f"{block.path}." if block.path else ""
    rows = [(f"`{it.path.removeprefix(before)}`", it.kind, it.default, it.meaning) for it in block.entries]
    return _rows((what, "takes", "default", "meaning"), rows)


def _rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [headings, ["---"] * len(headings), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


if __name__ == "__main__":
    write()
