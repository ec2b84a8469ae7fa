"""Where selections are pulled from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from models.settings.block import SettingsBlock


class SourceKind(StrEnum):
    LITELLM = "litellm"
    LANGFUSE = "langfuse"
    HELICONE = "helicone"
    OTEL = "otel"
    SEMANTIC_ROUTER = "semantic-router"
    OPENROUTER = "openrouter"
    TABLE = "table"


class ComplexityRule(SettingsBlock):
    """How complexity is told from the tokens of a prompt where a source does not say it.

    The limits have no source in the product document: half of the prompts of everyday chats are shorter than a few
    hundred tokens, and a few thousand are a long document.
    """

    moderate_from_tokens: Annotated[int, Field(gt=0)] = 500
    """From so many prompt tokens on a request is moderate, below it simple."""
    complex_from_tokens: Annotated[int, Field(gt=0)] = 4_000
    """From so many prompt tokens on it is complex."""

    @model_validator(mode="after")
    def _ordered(self) -> ComplexityRule:
        if self.moderate_from_tokens >= self.complex_from_tokens:
            raise ValueError("expected moderateFromTokens < complexFromTokens")
        return self


class SourceSettings(SettingsBlock):
    """Where picks are pulled from, and what is meant by names that are the user's own."""

    kind: SourceKind | None = None
    """Which source it is, where its name does not say."""
    location: Annotated[str, Field(min_length=1, repr=False)]
    """A database's or an API's address, or files: a path, a folder, a pattern. `$NAME` stands for a variable."""
    enabled: bool = True
    """Pull it by the timetable."""
    overlap_minutes: Annotated[float, Field(ge=0)] = 60.0
    """Rows up to this long before the newest are read again each time, for those that arrive late."""
    complexity_key: str | None = None
    """The metadata, property or attribute that holds the complexity."""
    team_key: str | None = None
    """The metadata, property or attribute that holds the team."""
    zero_is_free: bool = False
    """A recorded cost of 0 for an answer with tokens is a cost, for models that one hosts. Else unknown."""
    accuracy_score: str | None = None
    """The evaluation that holds the accuracy."""
    satisfaction_score: str | None = None
    """The evaluation that holds the user's satisfaction."""
    mapping: Path | None = None
    """A mapping file."""
    complexity_rule: ComplexityRule | None = ComplexityRule()
    """How complexity is told from a prompt's tokens where nobody says it; `null`: it stays unknown."""
