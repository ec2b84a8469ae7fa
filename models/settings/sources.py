"""Where selections are pulled from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from models.settings.block import SettingsBlock

LONGEST_SOURCE_NAME = 100


class SourceKind(StrEnum):
    LITELLM = "litellm"
    LANGFUSE = "langfuse"
    HELICONE = "helicone"
    OTEL = "otel"
    SEMANTIC_ROUTER = "semantic-router"
    OPENROUTER = "openrouter"
    TABLE = "table"


class ComplexityRule(SettingsBlock):
    """Rule that derives complexity from the tokens of a prompt, if a source does not report it.

    The limits have no source in the product document: half of all everyday chat prompts are shorter than a few hundred
    tokens, and a few thousand tokens are a long document.
    """

    moderate_from_tokens: Annotated[int, Field(gt=0)] = 500
    """Prompt tokens from which a request is moderate; below it is simple."""
    complex_from_tokens: Annotated[int, Field(gt=0)] = 4_000
    """Prompt tokens from which a request is complex."""

    @model_validator(mode="after")
    def _ordered(self) -> ComplexityRule:
        if self.moderate_from_tokens >= self.complex_from_tokens:
            raise ValueError("expected moderateFromTokens < complexFromTokens")
        return self


class SourceSettings(SettingsBlock):
    """A source of selections, and the user-defined names in it."""

    kind: SourceKind | None = None
    """The kind of source; needed unless its name is a kind."""
    location: Annotated[str, Field(min_length=1, repr=False)]
    """A database's or an API's address, or files: a path, a folder, a pattern. `$NAME` is an environment variable."""
    enabled: bool = True
    """Pull it on schedule."""
    overlap_minutes: Annotated[float, Field(ge=0)] = 60.0
    """Span before the newest row that each pull reads again, for late rows."""
    complexity_key: str | None = None
    """The metadata, property or attribute that holds the complexity."""
    team_key: str | None = None
    """The metadata, property or attribute that holds the team."""
    zero_is_free: bool = False
    """A recorded cost of 0 for an answer with tokens counts as known, for self-hosted models. Else it is unknown."""
    accuracy_score: str | None = None
    """The score or evaluation that holds the accuracy."""
    satisfaction_score: str | None = None
    """The score or evaluation that holds the user's satisfaction."""
    mapping: Path | None = None
    """Path of a mapping file."""
    complexity_rule: ComplexityRule | None = ComplexityRule()
    """Rule that derives missing complexity from a prompt's tokens; `null`: it stays unknown."""
