"""What the documentation shows works."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from pydantic import BaseModel

from deployments.reference import cli as commands
from deployments.reference import settings as configuration
from models.environment import OTHERS, Environment
from models.settings import Settings, parse_settings
from tasks.ingestion.column_mapping import load_mapping
from tests.support.paths import ROOT


def test_the_settings_shown_are_the_defaults_but_for_the_examples() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs/settings.md").read_text(), re.DOTALL)
    shown = json.loads(block)
    parse_settings(shown, "docs/settings.md")
    del shown["budget"], shown["delivery"]["recipients"], shown["optimizer"]["routerUsdPerRequest"]
    assert parse_settings(shown, "docs/settings.md") == Settings()


def test_the_example_of_a_mapping_can_be_loaded() -> None:
    assert load_mapping(ROOT / "examples/map.toml").columns["cost_usd"].multiply == 0.01


def test_every_file_that_the_documentation_links_to_is_there() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_page_is_in_the_index_and_in_the_navigation() -> None:
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    index = set(re.findall(r"\]\(([^)#]+\.md)", (ROOT / "docs/README.md").read_text()))
    assert index == pages - {"README.md"}
    assert set(_leaves(tomllib.loads((ROOT / "zensical.toml").read_text())["project"]["nav"])) == pages


def test_the_site_fetches_nothing_and_leads_nowhere_that_is_not_there(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    command = [str(Path(sys.executable).with_name("zensical")), "build", "--strict"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {page: page.read_text() for page in (tmp_path / "site").rglob("*.html") if page.name != "404.html"}
    assert len(pages) == len(list((ROOT / "docs").rglob("*.md")))
    dead = [(page.name, link) for page, text in pages.items() for link in _targets(text) if not _leads(page, link)]
    assert dead == []
    fetched = re.compile(r"<(?:script|link|img)[^>]+=\"?https?:[^ >]+")
    assert [link for text in pages.values() for link in fetched.findall(text)] == []


def test_the_reference_of_the_configuration_is_that_of_the_models() -> None:
    assert configuration.PAGE.read_text() == configuration.page(), "run `python -m deployments.reference.settings`"


def test_the_reference_of_the_commands_is_that_of_the_command_line() -> None:
    assert commands.PAGE.read_text() == commands.page(), "run `python -m deployments.reference.cli`"


def test_a_key_without_a_meaning_has_no_reference() -> None:
    class Inner(BaseModel):
        documented: int = 1
        """What it does."""
        undocumented: int = 2

        model_config = {"use_attribute_docstrings": True}

    class Outer(BaseModel):
        inner: Inner = Inner()
        """Of the two."""

        model_config = {"use_attribute_docstrings": True}

    with pytest.raises(ValueError, match=r"inner\.undocumented has no description"):
        configuration.settings_blocks(Outer)


def test_every_key_of_the_settings_is_in_the_reference_under_the_path_that_a_file_has_it_at() -> None:
    reported = {entry.path for block in configuration.settings_blocks() for entry in block.entries}
    written = Settings().model_dump(mode="json", by_alias=True)
    values = {path for path in _paths(written) if path not in {"sources", "delivery.recipients"}}
    assert values <= reported
    assert {path for path in reported if ".NAME" not in path} == values | {"delivery.recipients"}


def test_every_variable_of_ours_that_the_program_reads_is_in_the_reference() -> None:
    known = {f"ROUTEWATCH_{name.upper()}" for name in Environment.model_fields} | set(OTHERS)
    houses = ("models", "tasks", "reports", "flows", "dashboard", "deployments")
    sources = [path.read_text() for house in houses for path in (ROOT / house).rglob("*.py")]
    read = {name for text in sources for name in re.findall(r"environ(?:\.get\(|\[)\"(ROUTEWATCH_\w+)\"", text)}
    assert {"ROUTEWATCH_DASK_ADDRESS", "ROUTEWATCH_LOG_FORMAT"} <= read <= known


# ----------------------------------------------------------------------------------------------------------------------


def _paths(block: dict[str, object], before: str = "") -> list[str]:
    nested = {name: value for name, value in block.items() if isinstance(value, dict) and value}
    own = [f"{before}{name}" for name in block if name not in nested]
    return own + [path for name, value in nested.items() for path in _paths(value, f"{before}{name}.")]


def _leaves(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    elif isinstance(nav, dict | list):
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _leaves(part)


def _targets(page: str) -> list[str]:
    return [unescape(link) for link in re.findall(r"(?:href|src)=\"?(?![a-z]+:)([^\" >]+)", page)]


def _leads(page: Path, link: str) -> bool:
    """Return whether a link of a page of the site leads to a file, or to an anchor within a page."""
    name, _, ctx = unquote(link).partition("#")
    site = next(folder for folder in page.parents if folder.name == "site")
    target = (page.parent / name).resolve() if name else page
    if not target.is_relative_to(site):
        # The site lies in the place of the pages' folder: what is beside that is beside the site too.
        return (ROOT / target.relative_to(site.parent)).exists()
    return target.exists() and (not ctx or bool(re.search(rf"id=\"?{re.escape(ctx)}\"?[ >]", target.read_text())))
