"""What the documentation shows works."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from deployments import commands
from models.environment import OTHERS, Environment
from models.settings import Settings, parse_settings
from reports import configuration
from tasks.pull.mapping import load_mapping

ROOT = Path(__file__).parent.parent


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


def test_the_reference_of_the_configuration_is_that_of_the_models() -> None:
    assert configuration.PAGE.read_text() == configuration.page(), "run `python -m reports.configuration`"


def test_the_reference_of_the_commands_is_that_of_the_command_line() -> None:
    assert commands.PAGE.read_text() == commands.page(), "run `python -m deployments.commands`"


def test_a_key_without_a_meaning_has_no_reference() -> None:
    class Inner(BaseModel):
        told: int = 1
        """What it does."""
        untold: int = 2

        model_config = {"use_attribute_docstrings": True}

    class Outer(BaseModel):
        inner: Inner = Inner()
        """Of the two."""

        model_config = {"use_attribute_docstrings": True}

    with pytest.raises(ValueError, match=r"inner\.untold has no meaning"):
        configuration.settings_blocks(Outer)


def test_every_key_of_the_settings_is_in_the_reference_under_the_path_that_a_file_has_it_at() -> None:
    told = {entry.path for block in configuration.settings_blocks() for entry in block.entries}
    written = Settings().model_dump(mode="json", by_alias=True)
    values = {path for path in _paths(written) if path not in {"sources", "delivery.recipients"}}
    assert values <= told
    assert {path for path in told if ".NAME" not in path} == values | {"delivery.recipients"}


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
