"""Cases of which some run at every change, and all for a release."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def mostly_slow(cases: Iterable[T], at_every_change: Callable[[T], bool], name: Callable[[T], str] = str) -> list[Any]:
    """Return the cases as parameters with such names; those that do not run at every change are marked `slow`.

    A tuple is the values of several parameters.
    """
    return [
        pytest.param(
            *(it if isinstance(it, tuple) else (it,)),
            id=name(it),
            marks=() if at_every_change(it) else pytest.mark.slow,
        )
        for it in cases
    ]
