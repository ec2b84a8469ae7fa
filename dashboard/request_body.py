"""Request bodies: read completely, within limits on size and time.

The sender of a refused body may still be sending: see Lingering.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from http import HTTPStatus

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import Message, Receive, Send

from dashboard.problem_details import ApiError

LINGERS_S = 5.0
LINGERS_BYTES = 32 * 1024 * 1024


async def read_body(request: Request, largest_bytes: int, timeout_s: float, packings: Collection[str] = ()) -> bytes:
    """Return the body, still compressed. Raises ApiError (408, 413, 415) as soon as it is too slow or too large.

    Also if its encoding is none of `packings`.
    """
    packed = request.headers.get("content-encoding", "identity")
    if packed != "identity" and packed not in packings:
        detail = f"the body is packed with {packed!r}: send it {' or with '.join(('as it is', *packings))}"
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail, closes=True)
    content_length = request.headers.get("content-length", "")
    if content_length.isdecimal() and int(content_length) > largest_bytes:
        raise _too_large(content_length, largest_bytes)
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
        raise ApiError(HTTPStatus.REQUEST_TIMEOUT, detail, closes=True) from None
    return b"".join(parts)


class Lingering:
    """A request's `receive` and `send` that discard the rest of the body after a response that closes.

    Closing a connection while its caller is sending resets it and loses the response.
    """

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_whole = False
        self._closes = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._closes = Headers(raw=message["headers"]).get("connection") == "close"
        elif self._closes and not self._is_whole and not message.get("more_body", False):
            await self._send({**message, "more_body": True})
            await self._forget_rest()
            message = {"type": "http.response.body", "body": b""}
        await self._send(message)

    async def _forget_rest(self) -> None:
        length = 0
        try:
            async with asyncio.timeout(LINGERS_S):
                while not self._is_whole and length < LINGERS_BYTES:
                    length += len((await self.receive()).get("body", b""))
        except TimeoutError:
            return


def _too_large(found: str, largest_bytes: int) -> ApiError:
    detail = f"the body has {found} bytes, at most {largest_bytes} are taken: send it in parts"
    return ApiError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, closes=True)
