"""The base of what is stored and sent as JSON."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, ser_json_inf_nan="null",
        use_attribute_docstrings=True,
    )  # fmt: skip
