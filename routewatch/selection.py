"""The selection table, and the validation of one incoming selection."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    DateTime,
    Float,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

LARGEST_AMOUNT = 1e12
"""Above every plausible duration in ms or cost in USD; as a bound it also rejects NaN and infinity."""

MODEL_ID_LENGTH = 200
TEXT_LENGTH = 200
"""Longest complexity, team and error type; a longer one is a payload in the wrong column."""


class UtcDateTime(TypeDecorator[datetime]):
    """An instant: accepts only times with an offset, stores and returns UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value.isoformat()} has no offset")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Metadata of all tables: models.tables adds its tables to the one defined here."""


def identity_column() -> Column[Any]:
    """A 64-bit identity `id`; in SQLite an INTEGER PRIMARY KEY, the only type that autoincrements there."""
    return Column("id", BigInteger().with_variant(Integer(), "sqlite"), Identity(), primary_key=True)


def within(column: str, low: float, high: float) -> CheckConstraint:
    """Constrain the column's values to lie between both bounds, inclusive."""
    return CheckConstraint(f"{column} BETWEEN {low:g} AND {high:g}", name=column)


SELECTION = Table(
    "selection",
    METADATA,
    identity_column(),
    Column("request_id", Text, unique=True),
    Column("timestamp", UtcDateTime(), nullable=False),
    Column("model_id", Text, nullable=False),
    Column("response_time_ms", Float),
    Column("complexity", Text),
    Column("cost_usd", Float),
    Column("cache_hit", Boolean),
    Column("accuracy", Float),
    Column("user_satisfaction", Float),
    Column("error", Boolean, nullable=False, default=False, server_default=text("false")),
    Column("error_type", Text),
    Column("prompt_tokens", BigInteger),
    Column("completion_tokens", BigInteger),
    Column("team", Text),
    Column("cost_priced_on", Date),
    Column("complexity_derived", Boolean),
    within("response_time_ms", 0, LARGEST_AMOUNT),
    within("cost_usd", 0, LARGEST_AMOUNT),
    within("accuracy", 0, 1),
    within("user_satisfaction", 0, 1),
    within("prompt_tokens", 0, LARGEST_AMOUNT),
    within("completion_tokens", 0, LARGEST_AMOUNT),
    CheckConstraint("length(model_id) BETWEEN 1 AND 200", name="model_id"),
    Index(None, "timestamp"),
    Index(
        "ix_selection_priced",
        "timestamp",
        sqlite_where=text("cost_priced_on IS NOT NULL"),
        postgresql_where=text("cost_priced_on IS NOT NULL"),
    ),
    # Ids must never be reused: the rollup checkpoint is the last id that was aggregated.
    sqlite_autoincrement=True,
)
"""One row per selection of the router. NULL means unknown.

`cost_priced_on` is the date of the list prices that `cost_usd` was computed with, or NULL if the cost is as recorded;
`complexity_derived` marks a `complexity` that a rule derived from the tokens.
"""


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character")
    return text


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


_Text = Annotated[str, Field(max_length=TEXT_LENGTH), AfterValidator(_storable)]
_Amount = Annotated[float, Field(ge=0, le=LARGEST_AMOUNT)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Tokens = Annotated[int, Field(ge=0, le=LARGEST_AMOUNT)]


class SelectionInput(BaseModel):
    """The values that the table accepts; strict, so that neither True nor "1" passes as a number."""

    model_config = ConfigDict(strict=True, protected_namespaces=())

    request_id: Annotated[_Text, Field(min_length=1)]
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    model_id: Annotated[str, Field(min_length=1, max_length=MODEL_ID_LENGTH), AfterValidator(_storable)]
    response_time_ms: _Amount | None
    complexity: _Text | None
    cost_usd: _Amount | None
    cache_hit: bool | None
    accuracy: _Share | None
    user_satisfaction: _Share | None
    error: bool
    error_type: _Text | None
    prompt_tokens: _Tokens | None
    completion_tokens: _Tokens | None
    team: _Text | None


def checked_selection(row: dict[str, Any]) -> dict[str, Any]:
    """The row as the table accepts it. Raises ValueError with the first invalid column and the reason."""
    try:
        return SelectionInput.model_validate(row).model_dump()
    except ValidationError as problem:
        fault = problem.errors(include_url=False, include_context=False, include_input=False)[0]
        raise ValueError(f"{fault['loc'][0]}: {fault['msg']}") from None
