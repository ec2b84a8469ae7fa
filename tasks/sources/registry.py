"""Map source kinds to adapters, and names in the settings to sources."""

from __future__ import annotations

import os
from importlib import import_module

from models.errors import Fault, SettingsError, UsageError
from models.redaction import remember_address
from models.settings import Settings, SourceKind, SourceSettings
from tasks.ingestion.source import Source

_MODULES = {
    SourceKind.LITELLM: ("tasks.sources.litellm", "LiteLLM"),
    SourceKind.LANGFUSE: ("tasks.sources.langfuse.source", "Langfuse"),
    SourceKind.HELICONE: ("tasks.sources.helicone", "Helicone"),
    SourceKind.OTEL: ("tasks.sources.otel.source", "OTel"),
    SourceKind.SEMANTIC_ROUTER: ("tasks.sources.semantic_router", "SemanticRouter"),
    SourceKind.OPENROUTER: ("tasks.sources.openrouter", "OpenRouter"),
    SourceKind.TABLE: ("tasks.sources.sql_table", "SqlTable"),
}
"""Imported on first use; each class receives its location, without `$`, and its settings."""


def settings_of(settings: Settings, name: str, location: str | None) -> SourceSettings:
    """The settings of a source, with another location if one is given.

    Raises UsageError if the settings do not name it and no location is given, or its kind is unknown.
    """
    found = settings.sources.get(name)
    if found is not None:
        return found if location is None else found.model_copy(update={"location": location})
    kinds = [kind.value for kind in SourceKind]
    if name not in kinds:
        named = ", ".join(sorted({*settings.sources, *kinds}))
        raise UsageError(f"{name} is not a source: there are {named}")
    if location is None:
        raise UsageError(f"{name} has no location: name it with --from, or in the settings as sources.{name}")
    return SourceSettings(location=location)


def open_source(name: str, settings: SourceSettings) -> Source:
    """The source of a name, not yet connected. Raises SettingsError if its variable is not set."""
    kind = settings.kind or SourceKind(name)
    module, made_by = _MODULES[kind]
    source: Source = getattr(import_module(module), made_by)(_resolved(name, settings.location), settings)
    return source


# ----------------------------------------------------------------------------------------------------------------------


def _resolved(name: str, location: str) -> str:
    if not location.startswith("$"):
        remember_address(location)
        return location
    variable = location.removeprefix("$").strip("{}")
    if not os.environ.get(variable):
        raise SettingsError(
            "the settings file", [Fault(f"sources.{name}.location", f"the variable {variable} is not set")]
        )
    remember_address(os.environ[variable])
    return os.environ[variable]
