"""How a wheel is laid out: our folders are inside `routewatch_server/`, lest their names meet an application's."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDERS = ("models", "tasks", "reports", "flows", "dashboard", "deployments", "examples", "docs/schemas")


class WheelLayout(BuildHookInterface[Any]):
    """An editable installation has no folder of ours inside: there `routewatch_server` finds them in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"] |= {folder: f"routewatch_server/{folder}" for folder in FOLDERS}
