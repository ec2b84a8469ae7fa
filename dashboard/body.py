"""Bodies: read whole, but never more than there may be of them, nor for longer than they may take."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import Request

from dashboard.problems import Refused


async def read_body(request: Request, largest_bytes: int, timeout_s: float) -> bytes:
    """The body. Raises Refused (408, 413, 415) as soon as it is known to be too slow, too large or packed."""
    packed = request.headers.get("content-encoding", "identity")
    if packed != "identity":
        detail = f"the body is packed with {packed!r}: send it as it is"
        raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, closes=True)
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > largest_bytes:
        raise _too_large(announced, largest_bytes)
    parts, length = [], 0
    try:
        async with asyncio.timeout(timeout_s):
            async for part in request.stream():
                length += len(part)
                if length > largest_bytes:
                    raise _too_large(f"more than {largest_bytes}", largest_bytes)
                parts.append(part)
    except TimeoutError:
        detail = f"the body was not there after {timeout_s:g} s, {length} bytes of it were: send less at once"
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, detail, closes=True) from None
    return b"".join(parts)


def _too_large(found: str, largest_bytes: int) -> Refused:
    detail = f"the body has {found} bytes, at most {largest_bytes} are taken: send it in parts"
    return Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, closes=True)
