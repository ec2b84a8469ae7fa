"""Base models of JSON that is stored and sent, and of data read from files and the environment."""

from __future__ import annotations

import ast
import inspect
import textwrap
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, JsonValue, model_validator
from pydantic.alias_generators import to_camel

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class DescribedModel(BaseModel):
    """The docstring below an attribute is its description in the JSON schema.

    Pydantic's own `use_attribute_docstrings` reads the source of every class on definition, thus in every command; this
    reads it only when a schema is requested.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /) -> JsonSchemaValue:
        made = handler(core_schema)
        properties = handler.resolve_ref_schema(made).get("properties", {})
        for name, meaning in _meanings(cls).items():
            alias = cls.model_fields[name].alias or name
            for key in {name, alias} & properties.keys():
                properties[key]["description"] = meaning
        return made


class ApiModel(DescribedModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, ser_json_inf_nan="null"
    )


DEPRECATED: dict[str, JsonValue] = {"deprecated": True}
"""Marks a field's former name as deprecated in the JSON Schema."""


class RenamedFields(ApiModel):
    """JSON objects with fields that had another name in the release before.

    `FORMER_NAMES` maps each former JSON name to the present one. Both are read, so that what was stored before an
    upgrade stays readable. A subclass writes the former name too, as a computed field, for one release.
    """

    FORMER_NAMES: ClassVar[dict[str, str]]

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.keys().isdisjoint(cls.FORMER_NAMES):
            return data
        former = {present: data[name] for name, present in cls.FORMER_NAMES.items() if name in data}
        return former | {name: value for name, value in data.items() if name not in cls.FORMER_NAMES}


class ResponseModel(ApiModel):
    """A response of the HTTP API; readers ignore fields that a later release adds."""

    model_config = ConfigDict(extra="ignore", frozen=False)


# ----------------------------------------------------------------------------------------------------------------------


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """The docstrings below the fields of a model, including inherited fields."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not issubclass(base, BaseModel) or base.__module__.startswith("pydantic"):
            continue
        try:
            (made,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        except OSError:
            # Made by pydantic's create_model: it has no class statement, and its fields carry their descriptions.
            continue
        for statement, following in pairwise(made.body if isinstance(made, ast.ClassDef) else []):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                found.pop(statement.target.id, None)
                if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                    found[statement.target.id] = inspect.cleandoc(str(following.value.value))
    return {name: meaning for name, meaning in found.items() if name in model.model_fields}
