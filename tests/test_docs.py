"""What the documentation shows works."""

from __future__ import annotations

import json
import re
from pathlib import Path

from models.settings import Settings, parse_settings
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
