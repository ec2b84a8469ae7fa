"""Every table has a class, whose fields are its columns: by name, by type, and by whether NULL may stand there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import JSON, Column
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Session, SQLModel, select

from models import tables
from models.database import connect, migrate
from models.tables import Selection, table_of
from tests.support.factories import MONDAY

CLASSES: list[type[SQLModel]] = [
    it for it in vars(tables).values() if isinstance(it, type) and issubclass(it, SQLModel) and hasattr(it, "__table__")
]


def test_every_table_has_one_class() -> None:
    assert sorted(table_of(it).name for it in CLASSES) == sorted(table_of(Selection).metadata.tables)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_fields_of_a_class_are_the_columns_of_its_table(kind: type[SQLModel]) -> None:
    columns = {column.name: column for column in table_of(kind).columns}
    assert list(kind.model_fields) == list(columns)
    for name, field in kind.model_fields.items():
        kinds = set(get_args(field.annotation) or (field.annotation,))
        if kinds == {Any}:
            assert isinstance(columns[name].type, JSON)
            continue
        assert kinds - {type(None)} == {_stored_as(columns[name]).python_type}
        # What the database numbers has no number before it is stored.
        assert (type(None) in kinds) is bool(columns[name].nullable or columns[name].identity)
        assert field.is_required() is not bool(columns[name].nullable or columns[name].default or columns[name].identity
                                               or columns[name].server_default)  # fmt: skip


def test_a_row_is_stored_and_found_as_an_object(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/routewatch.db"
    migrate(address)
    engine = connect(address)
    with Session(engine) as session:
        session.add(Selection(timestamp=MONDAY, model_id="small", cost_usd=0.5))
        session.commit()
    with Session(engine) as session:
        found = session.exec(select(Selection).where(Selection.model_id == "small")).one()
    assert (found.id, found.timestamp, found.cost_usd, found.error) == (1, MONDAY, 0.5, False)
    engine.dispose()


# ----------------------------------------------------------------------------------------------------------------------


def _stored_as(column: Column[Any]) -> TypeEngine[Any]:
    """The type below one of our own, which says nothing of Python's."""
    return column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
