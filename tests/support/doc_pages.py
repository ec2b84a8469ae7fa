"""The documentation's pages, their blocks of code, and the commands that they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"`([\w.-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`((?:routewatch|make|python -m) [^`\n]+)`")
_INDENTED = re.compile(r"^ {4}(routewatch .+)$", re.MULTILINE)
_PLACEHOLDERS = {"ID": "1", "EMAIL|URL": "ops@example.org", "FILE...": "FILE", "SOURCE": "litellm"}


@dataclass(frozen=True)
class Block:
    """A fenced block: its page, relative to the project, its language and its text."""

    page: str
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command as a page shows it, and its words, with a value for each placeholder.

    One that is only named in the text need not be complete.
    """

    page: str
    line: str
    words: tuple[str, ...]
    is_whole: bool


GENERATED = ROOT / "docs" / "commands.md"
"""It shows every command by its name, and is compared with the command line itself."""


def blocks(*languages: str) -> list[Block]:
    """Return the blocks of all pages in these languages."""
    return [block for page in PAGES for block in _blocks(page) if block.language in languages]


def named_files(page: Path) -> dict[str, str]:
    """Return the files that a page shows: their names stand before the block, as in: it is the file `log.csv`."""
    return dict(_NAMED.findall(page.read_text(encoding="utf-8")))


def commands(program: str) -> list[Command]:
    """Return what all pages show of a program, in blocks, in indented lines and in the text."""
    pages = [page for page in PAGES if page != GENERATED]
    shown = [(page, line, is_whole) for page in pages for line, is_whole in _lines(page)]
    return [command for page, line, is_whole in shown for command in _commands(page, line, program, is_whole=is_whole)]


# ----------------------------------------------------------------------------------------------------------------------


def _blocks(page: Path) -> Iterator[Block]:
    for language, text in _FENCE.findall(page.read_text(encoding="utf-8")):
        yield Block(str(page.relative_to(ROOT)), language, text)


def _lines(page: Path) -> Iterator[tuple[str, bool]]:
    """Yield the lines that may contain commands, and whether these are complete."""
    shell = [block.text for block in _blocks(page) if block.language == "sh"]
    rest = _FENCE.sub("", page.read_text(encoding="utf-8"))
    yield from ((line, True) for text in (*shell, "\n".join(_INDENTED.findall(rest))) for line in text.splitlines())
    yield from ((line, False) for line in _INLINE.findall(rest))


def _commands(page: Path, line: str, program: str, *, is_whole: bool) -> Iterator[Command]:
    for part in line.split(" && "):
        found = re.match(rf"\s*(?:\.venv/bin/)?{re.escape(program)} (.*)", part)
        if found is not None:
            # Options are shown in brackets.
            words = shlex.split(re.sub(r"(?<!\S)\[([^]]+)\]", r"\1", found[1]), comments=True)
            filled = tuple(_PLACEHOLDERS.get(word, word) for word in words)
            yield Command(str(page.relative_to(ROOT)), part.strip(), filled, is_whole)
