"""Map the columns of a file to columns of a selection, and define how their values are read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from models.errors import Fault, InvalidMapping
from models.period import is_zone
from models.settings import faults_of
from models.text_files import read_text

TEXTS = ("request_id", "model_id", "complexity", "error_type", "team", "experiment", "arm")
AMOUNTS = ("response_time_ms", "cost_usd")
RATIOS = ("accuracy", "user_satisfaction")
TOKENS = ("prompt_tokens", "completion_tokens")
COUNTS = (*TOKENS, "unit_bucket")
ASSIGNMENT = ("experiment", "arm", "unit_bucket")
"""What only the requests of a split have."""

FLAGS = ("cache_hit", "error")
SELECTION_COLUMNS = ("timestamp", *TEXTS, *AMOUNTS, *RATIOS, *COUNTS, *FLAGS)
REQUIRED = ("timestamp", "model_id")

DOCUMENT_NAMES = {
    "request_id": "requestId",
    "model_id": "modelId",
    "response_time_ms": "responseTime",
    "cost_usd": "cost",
    "cache_hit": "cacheHit",
    "user_satisfaction": "userSatisfaction",
    "error_type": "errorType",
    "prompt_tokens": "promptTokens",
    "completion_tokens": "completionTokens",
    "unit_bucket": "unitBucket",
}
"""The product document's column names; read if our own name is absent and no mapping sets the column."""

Unit = Literal["s", "ms", "us", "ns"]


class ColumnSource(BaseModel):
    """The origin of a column's values and their conversion.

    `multiply` converts a unit; `minimum` and `maximum` name the scale that is mapped to 0..1; `is_set` and `equals`
    make a flag; `minus` with `unit` makes a duration in ms from two times; `unit` is the unit of a numeric time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    column: str | None = Field(default=None, alias="from")
    value: str | float | bool | None = None
    multiply: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    is_set: Literal[True] | None = None
    equals: tuple[str, ...] | None = None
    minus: str | None = None
    unit: Unit | None = None

    @model_validator(mode="after")
    def _complete(self) -> ColumnSource:
        if (self.column is None) == (self.value is None):
            raise ValueError('expected either from = "a column" or value = a constant')
        if (self.minimum is None) != (self.maximum is None):
            raise ValueError("minimum and maximum go together")
        if self.minimum is not None and self.maximum is not None and self.minimum >= self.maximum:
            raise ValueError("expected minimum < maximum")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the file that are read."""
        return tuple(name for name in (self.column, self.minus) if name is not None)


class CsvFormat(BaseModel):
    """The CSV dialect; the delimiter is detected if it is not given."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delimiter: Annotated[str, Field(min_length=1, max_length=1, pattern=r'[^"\r\n]')] | None = None


class InputFormat(BaseModel):
    """`zone` applies to times without an offset; the default is the reporting zone."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    zone: str | None = None

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, name: str | None) -> str | None:
        if name is not None and not is_zone(name):
            raise ValueError(f"{name!r} is not an IANA time zone")
        return name


class TableFormat(BaseModel):
    """The database part: a table (also `schema.table`), or a query of one SELECT.

    Rows are read by ascending `cursor`, ideally the time of a row's last change, and `id` identifies them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    table: Annotated[str, Field(min_length=1)] | None = None
    query: Annotated[str, Field(min_length=1)] | None = None
    cursor: Annotated[str, Field(min_length=1)]
    id: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> TableFormat:
        if (self.table is None) == (self.query is None):
            raise ValueError("expected either a table or a query")
        return self


class Mapping(BaseModel):
    """A mapping file. Columns that it does not name are read under our own names or the product document's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[str, ColumnSource] = {}
    csv: CsvFormat = CsvFormat()
    input: InputFormat = InputFormat()
    source: TableFormat | None = None

    @field_validator("columns", mode="before")
    @classmethod
    def _short_form(cls, columns: Any) -> Any:
        if not isinstance(columns, dict):
            return columns
        return {ours: {"from": theirs} if isinstance(theirs, str) else theirs for ours, theirs in columns.items()}

    @field_validator("columns")
    @classmethod
    def _known_columns(cls, columns: dict[str, ColumnSource]) -> dict[str, ColumnSource]:
        unknown = [name for name in columns if name not in SELECTION_COLUMNS]
        if unknown:
            raise ValueError(
                f"{', '.join(unknown)}: no such column of a selection; there are {', '.join(SELECTION_COLUMNS)}"
            )
        return columns

    def sources(self, found: set[str]) -> dict[str, ColumnSource]:
        """The origin of each of our columns in a file with the columns `found`."""
        sources = {}
        for ours in SELECTION_COLUMNS:
            if ours in self.columns:
                sources[ours] = self.columns[ours]
            elif ours in found:
                sources[ours] = ColumnSource(column=ours)
            elif DOCUMENT_NAMES.get(ours) in found:
                sources[ours] = ColumnSource(column=DOCUMENT_NAMES[ours])
        return sources


def load_mapping(path: Path) -> Mapping:
    """Read the mapping of a TOML file. Raises InvalidMapping with every fault at once."""
    try:
        return Mapping.model_validate(tomllib.loads(read_text(path)))
    except OSError as error:
        raise InvalidMapping(str(path), [Fault("file", error.strerror or str(error))]) from error
    except ValidationError as error:
        raise InvalidMapping(str(path), faults_of(error)) from error
    except ValueError as error:
        raise InvalidMapping(str(path), [Fault("file", f"is not valid TOML: {error}")]) from error
    except RecursionError:
        raise InvalidMapping(str(path), [Fault("file", "is not valid TOML: it is nested too deeply")]) from None
