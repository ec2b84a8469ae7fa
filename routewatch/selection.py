"""The selection table, and the conditions of the gate as the database holds them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

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

from routewatch.gate import BOUNDS, EARLIEST, FIELDS, LATEST, TEXT_LENGTH, WHOLE, Kind

INSTANT_FORM = "%Y-%m-%d %H:%M:%S.%f"
"""The one form of an instant in SQLite, in UTC: instants are text there, and compare as text."""


def instant_text(instant: datetime) -> str:
    """An instant as SQLite has it."""
    return instant.astimezone(UTC).strftime(INSTANT_FORM)


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


REQUIRED = ("timestamp", "model_id", "error")
"""The columns that are never NULL."""


def conditions(dialect: str) -> dict[str, str]:
    """What holds of each column of a valid selection, as SQL of the dialect, by the column.

    The tables enforce it, whoever writes. Being ahead of the clock is not among it: a table knows no clock.
    """
    write = _sqlite_condition if dialect == "sqlite" else _postgresql_condition
    found = {name: write(name, kind) for name, kind in FIELDS.items()}
    if dialect == "sqlite":
        day = "20[0-9][0-9]-[01][0-9]-[0-3][0-9]"
        found["cost_priced_on"] = f"cost_priced_on GLOB '{day}' AND date(cost_priced_on) IS cost_priced_on"
        found["complexity_derived"] = _sqlite_condition("complexity_derived", Kind.FLAG)
    return {
        name: condition if name in REQUIRED else f"{name} IS NULL OR ({condition})"
        for name, condition in found.items()
        if condition
    }


def _sqlite_condition(name: str, kind: Kind) -> str:
    """SQLite stores any value in any column, so its type is a part of the condition."""
    if kind is Kind.INSTANT:
        # Exactly one form: text that is a date of another form would be counted in one place and lost in another.
        digits = "20[0-9][0-9]-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-5][0-9].[0-9][0-9][0-9][0-9][0-9][0-9]"
        # 30 February and 24:00 have this form too, but are written back as other instants.
        exists = f"datetime(strftime('%s', substr({name}, 1, 19)), 'unixepoch') IS substr({name}, 1, 19)"
        return f"typeof({name}) = 'text' AND {name} GLOB '{digits}' AND {exists}"
    if kind in (Kind.FLAG, Kind.FAILURE):
        return f"{name} IN (0, 1) AND typeof({name}) = 'integer'"
    if kind in BOUNDS:
        types = "= 'integer'" if kind in WHOLE else "IN ('real', 'integer')"
        return f"typeof({name}) {types} AND {_between(name, kind)}"
    control = "'*[' || char(1, 45, 31, 127) || ']*'"
    text_of_it = f"typeof({name}) = 'text' AND {_length(name)}"
    return f"{text_of_it} AND instr({name}, char(0)) = 0 AND {name} NOT GLOB {control}"


def _postgresql_condition(name: str, kind: Kind) -> str:
    if kind is Kind.INSTANT:
        first, last = (f"TIMESTAMPTZ '{it:%Y-%m-%d %H:%M:%S}+00'" for it in (EARLIEST, LATEST))
        return f"{name} >= {first} AND {name} < {last}"
    if kind in BOUNDS:
        return _between(name, kind)
    if kind in (Kind.FLAG, Kind.FAILURE):
        return ""
    return f"{_length(name)} AND {name} !~ ('[' || chr(1) || '-' || chr(31) || chr(127) || ']')"


def _between(name: str, kind: Kind) -> str:
    """NaN and infinity lie outside any bounds."""
    low, high = BOUNDS[kind]
    return f"{name} BETWEEN {low:g} AND {high:.0f}"


def _length(name: str) -> str:
    """Empty text is unknown, but nothing stands for an empty model or id."""
    return f"length({name}) BETWEEN {1 if name in ('model_id', 'request_id') else 0} AND {TEXT_LENGTH}"


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
    Column("experiment", Text),
    Column("arm", Text),
    Column("unit_bucket", Integer),
    *(
        CheckConstraint(condition, name=name).ddl_if(dialect=dialect)
        for dialect in ("sqlite", "postgresql")
        for name, condition in conditions(dialect).items()
    ),
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
`complexity_derived` marks a `complexity` that a rule derived from the tokens. `experiment` and `arm` say to what a
rollout assigned the request, whatever served it in the end; `unit_bucket` is the hash bucket of the unit, such as the
user, by which it did.
"""
