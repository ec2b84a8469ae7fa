"""The tests themselves: each stands beside the module that it tests, alone, and uses only public names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

TESTS = ROOT / "tests"
FILES = sorted(TESTS.rglob("*.py"))
OF_NO_PACKAGE = {"docs", "golden", "security", "support", "system"}
"""Folders of shared files."""

FOREIGN = {
    "_exit", "_max_overflow", "_parameter_openapi_schema", "_protected_args", "_record", "_timeout", "_work_queue",
}  # fmt: skip
"""Private names of other libraries that have no public one for it."""

ANOTHER_TEST = re.compile(r"(?:from|import) tests\.(?!support\b)\w+")
PRIVATE_IMPORT = re.compile(r"from (?!typer|__future__)[\w.]+ import [\w, ()]*\b_[a-z]\w*")


def found_in(tree: ast.AST) -> Iterator[str]:
    """Yield the names beginning with an underscore that a module imports from others."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _is_private(node.attr):
            is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if not is_own and node.attr not in FOREIGN:
                yield node.attr
        if isinstance(node, ast.ImportFrom):
            yield from (name.name for name in node.names if _is_private(name.name))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            words = [it.value for it in node.args[:2] if isinstance(it, ast.Constant) and isinstance(it.value, str)]
            yield from (word for word in words if _is_private(word.rpartition(".")[2]))


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TESTS)))
def test_a_test_imports_no_other_and_no_private_name(path: Path) -> None:
    """Nor does the code in it that other processes run."""
    text = path.read_text()
    assert ANOTHER_TEST.findall(text) == []
    assert PRIVATE_IMPORT.findall(text) == []
    assert list(found_in(ast.parse(text))) == []


@pytest.mark.parametrize(
    "code",
    [
        "from tasks.x import " + "_y", "module._private()", "other._private = 1",
        'patch.setattr(module, "_private", 1)',
        'monkeypatch.setattr("tasks.x._private", 1)',
    ],
)  # fmt: skip
def test_what_is_private_is_seen(code: str) -> None:
    assert list(found_in(ast.parse(code)))


def test_the_folders_are_those_of_the_packages() -> None:
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("test_*.py")}
    of_packages = {folder for folder in folders if folder.parts[0] not in OF_NO_PACKAGE}
    assert [str(folder) for folder in sorted(of_packages) if not (ROOT / folder).is_dir()] == []
