"""Shared work: what many ask for at the same time is made once, in threads of its own, and within a bound."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, TypeVar

from dashboard.problem_details import ApiError

RETRY_AFTER_S = 2
MOST_WAITING = 1_000
"""Requests that wait for one kind of work; further ones get 503, so that memory is bounded."""

logger = logging.getLogger("routewatch")

_T = TypeVar("_T")


class SharedWork:
    """Work by key: whoever asks for a key while it is made waits for the same result.

    Nothing runs in the threads that answer other requests, so that none of those waits. Of one event loop.
    """

    def __init__(self, name: str, *, threads: int, most_keys: int, most_waiting: int = MOST_WAITING) -> None:
        self._name = name
        self._threads = ThreadPoolExecutor(threads, name)
        self._most_keys = most_keys
        self.most_waiting = most_waiting
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}
        self.waiting = 0

    def start(self, key: Hashable, make: Callable[[], _T]) -> asyncio.Task[_T]:
        """Return the task that makes this, a new one if there is none. Raises ApiError beyond the bound of keys."""
        task = self._under_way.get(key)
        if task is None:
            if len(self._under_way) >= self._most_keys:
                raise self._busy(f"{len(self._under_way)} others are being made")
            task = self._under_way[key] = asyncio.create_task(self._make(key, make))
            task.add_done_callback(self._log_failure)
        return task

    async def result(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what `make` returns, or raise what it raises. Raises ApiError beyond the bounds."""
        task = self.start(key, make)
        if self.waiting >= self.most_waiting:
            raise self._busy(f"{self.waiting} requests wait for it")
        self.waiting += 1
        try:
            # A caller that disconnects does not stop the work for others.
            return await asyncio.shield(task)
        finally:
            self.waiting -= 1

    # ------------------------------------------------------------------------------------------------------------------

    async def _make(self, key: Hashable, make: Callable[[], _T]) -> _T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, make)
        finally:
            del self._under_way[key]

    def _busy(self, why: str) -> ApiError:
        detail = f"too many ask for {self._name} at once, {why}: try again after a moment"
        return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"Retry-After": str(RETRY_AFTER_S)})

    def _log_failure(self, task: asyncio.Task[Any]) -> None:
        """Log the error, even if no request waits for it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("could not make %s: %s: %s", self._name, type(error).__name__, error)
