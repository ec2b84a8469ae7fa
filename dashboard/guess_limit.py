"""Limit on guesses of a token, by the address that they come from, within a bounded memory."""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from http import HTTPStatus

from dashboard.problem_details import ApiError

BURST = 10
"""Wrong tokens from one address before it has to wait."""
REFILL_S = 30.0
"""Seconds after which one more is allowed."""
MOST_ADDRESSES = 10_000
IPV6_PREFIX = 64
"""Bits of an IPv6 address that count: one customer has all of the others."""


class GuessLimit:
    """Counts wrong tokens by address; the address that was wrong longest ago is forgotten first."""

    def __init__(self) -> None:
        self._wrong: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """How many wrong tokens stand against an address, and when that was so, in seconds of a monotonic clock."""
        self._last: dict[str, int] = {}
        """The hash of the last wrong token of an address: a program that repeats one does not guess."""

    def check(self, address: str, now_s: float) -> None:
        """Raise ApiError (429) where too many tokens were wrong."""
        wait_s = (self._count(address, now_s) - (BURST - 1)) * REFILL_S
        if wait_s > 0:
            detail = f"too many wrong tokens came from this address: wait {math.ceil(wait_s)} s"
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise ApiError(HTTPStatus.TOO_MANY_REQUESTS, detail, headers, closes=True)

    def check_wrong(self, address: str, token: str, now_s: float) -> None:
        """Count a wrong token that is not the address's last one again. Raises ApiError (429) after too many."""
        key, digest = _group_of(address), hash(token)
        if self._last.get(key) == digest:
            return
        self.check(address, now_s)
        self.count_wrong(address, now_s)
        self._last[key] = digest

    def count_wrong(self, address: str, now_s: float) -> None:
        """Count a wrong token."""
        key = _group_of(address)
        self._wrong[key] = (self._count(address, now_s) + 1, now_s)
        self._wrong.move_to_end(key)
        while len(self._wrong) > MOST_ADDRESSES:
            self._last.pop(self._wrong.popitem(last=False)[0], None)

    def __len__(self) -> int:
        return len(self._wrong)

    def _count(self, address: str, now_s: float) -> float:
        count, at_s = self._wrong.get(_group_of(address), (0.0, now_s))
        return max(0.0, count - (now_s - at_s) / REFILL_S)


# ----------------------------------------------------------------------------------------------------------------------


def _group_of(address: str) -> str:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:100]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
