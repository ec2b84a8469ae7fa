"""Turns: whoever waits to write gets an answer within a bound, also while others write."""

from __future__ import annotations

import time
from http import HTTPStatus

from dashboard.problem_details import ApiError

RETRY_AFTER_S = 2


def time_left_s(ends_at_s: float) -> float:
    """Return the seconds that are left up to an instant of the monotonic clock. Raises ApiError if there are none."""
    left_s = ends_at_s - time.monotonic()
    if left_s <= 0:
        detail = "too much waits to be written: nothing was stored; send this again after a moment"
        raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)})
    return left_s
