"""Lay out the wheel: our folders are inside `routewatch_server/`, so that their names cannot clash with others."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("models", "tasks", "reports", "flows", "dashboard", "deployments", "examples", "docs/schemas")


class WheelLayout(BuildHookInterface[Any]):
    """Leave an editable installation without our folders: there `routewatch_server` finds them in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"] |= {folder: f"routewatch_server/{folder}" for folder in FOLDERS}
