"""The base of every block of the settings file."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from models.base import DescribedModel

Milliseconds = Annotated[int, Field(gt=0)]


class SettingsBlock(DescribedModel):
    """The docstring below a key is its description: docs/configuration.md is generated from it."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        allow_inf_nan=False,
    )
