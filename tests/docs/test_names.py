"""One name for one thing: no two classes share a name, and words that the glossary replaced do not come back."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.support.paths import ROOT

PACKAGES = ("routewatch", "models", "reports", "tasks", "flows", "dashboard", "deployments")

REPLACED = {
    "aggregate, update": ("fold", "folds", "folded", "folding", "unfolded"),
    "rebuild": ("mend", "mends", "mended", "mending"),
    "watermark, final, record": ("settle", "settles", "settled", "settling", "unsettled"),
    "store, insert, read": ("shelve", "shelved"),
    "query, slice": ("gather", "gathered"),
    "collect": ("survey", "surveyed"),
    "selection": ("pick", "picks", "picked"),
    "counts, stats": ("tally", "tallies"),
    "context": ("workplace",),
    "hotspot, position": ("place", "places", "stretch", "stretches"),
    "comparable": ("alike", "likeness"),
    "baseline, deviation": ("stray", "strays"),
    "forecast": ("outlook", "foresee"),
    "observation, evaluation": ("looks",),
    "registry, tracked alert, lifecycle": ("book", "life", "lives", "story", "stories"),
    "notify, report, log": ("tell", "tells", "told", "untold"),
    "pending, notification": ("news", "rhythm"),
    "notify, enqueue": ("announce", "announced", "announces"),
    "queue, payload, policy": ("ledger", "parcel", "parcels", "pace"),
    "dead-lettered": ("death", "deaths", "died"),
    "probe, run checks": ("knock", "knocked", "examine", "examined", "scene", "scenes"),
    "mark as crashed, monitor": ("bury", "buried"),
    "schedule": ("timetable", "timetables"),
    "revert, expected gain": ("worth",),
    "authentication": ("gate", "admit", "admitted"),
    "characters": ("letter", "letters"),
    "package, layer": ("house", "houses"),
    "until": ("upto",),
}
"""The words that stand now, with those that they replaced."""

KEPT = {
    # Fields of JSON and columns, which keep their names.
    "usual_error_rate", "usual_cost_usd", "upto",
    # What is dead-lettered.
    "DeadLetter", "DeadLetters", "dead_letter", "dead_letters", "_dead_letter", "_dead_letters",
    "dead_letter_notified", "notify_dead_letters", "retry_all_dead_letters",
}  # fmt: skip


@cache
def modules() -> tuple[tuple[str, ast.Module], ...]:
    """Every module of the product but the migrations, which keep the names of their time."""
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return tuple((_shown(path), ast.parse(path.read_text())) for path in paths if "versions" not in path.parts)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def named(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Every name that a module gives, and the line."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, node.lineno
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name, node.lineno


def words_of(name: str) -> set[str]:
    """The parts of a name in snake_case, CamelCase or capitals."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


def test_no_two_classes_share_a_name() -> None:
    """Nor with an underscore before one of them."""
    found = defaultdict(list)
    for path, tree in modules():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                found[node.name.strip("_")].append(path)
    assert {name: paths for name, paths in found.items() if len(paths) > 1} == {}


def test_replaced_words_do_not_come_back() -> None:
    replaced = {word: present for present, words in REPLACED.items() for word in words}
    found = [
        f"{path}:{line}: {name} (say {replaced[word]})"
        for path, tree in modules()
        for name, line in named(tree)
        for word in words_of(name) & replaced.keys()
        if name not in KEPT
    ]
    assert found == []


def test_constants_name_their_subject() -> None:
    """These stood for up to ten things each."""
    bare = {"COLUMNS", "KEYS", "MINIMUM_SAMPLE", "MOST_ROWS", "READ"}
    found = [
        f"{path}: {target.id}"
        for path, tree in modules()
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and target.id.strip("_") in bare
    ]
    assert found == []
