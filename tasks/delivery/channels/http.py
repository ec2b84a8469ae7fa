"""POST to a checked address with limits on time and size; reads only the response's head."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

import httpx
from httpx_secure import SSRFProtectionError, httpx_ssrf_protection

from models.errors import DeliveryFailed
from models.recipient import Recipient

T = TypeVar("T")

USER_AGENT = "Routewatch"

LARGEST_RESPONSE_BYTES = 256_000
"""Largest body: far above all formats of Routewatch, and no receiver must accept more."""

_TEMPORARY = {
    httpx.codes.REQUEST_TIMEOUT, httpx.codes.CONFLICT, httpx.codes.MISDIRECTED_REQUEST, httpx.codes.LOCKED,
    httpx.codes.TOO_EARLY, httpx.codes.TOO_MANY_REQUESTS,
}  # fmt: skip
"""Client error statuses after which the same request may succeed."""

_NAT64 = IPv6Network("64:ff9b::/96")


def post_body(
    recipient: Recipient,
    body: bytes,
    headers: dict[str, str],
    *,
    allow_private_addresses: bool,
    timeout_s: float,
    now: datetime,
) -> str:
    """POST `body` within `timeout_s` in total and return the status line. Raises DeliveryFailed.

    Resolves the name once: every address must be allowed, and the connection uses one of them. A redirect is
    a failure, since it leads to an address that is not configured. The response's body is not read.
    """
    shown = recipient.reference
    if len(body) > LARGEST_RESPONSE_BYTES:
        raise DeliveryFailed(shown, f"it has {len(body):,} bytes, more than {LARGEST_RESPONSE_BYTES:,}", permanent=True)
    until_s = time.monotonic() + timeout_s
    with _failures_raised(shown, timeout_s):
        url, addresses = _allowed(recipient, timeout_s, private=allow_private_addresses)
        attempt = _enqueue_notice(url, addresses, body, headers, private=allow_private_addresses)
        with _unlogged():
            response = asyncio.run(_within(until_s - time.monotonic(), attempt))
    answer = f"{response.status_code} {response.reason_phrase}".strip()
    if response.is_success:
        return answer
    permanent = response.is_client_error and response.status_code not in _TEMPORARY
    raise DeliveryFailed(shown, answer, permanent=permanent, retry_after_s=_retry_after_s(response, now))


@dataclass(frozen=True)
class ProbeResult:
    """The server that a POST would reach. Without encryption there is neither a protocol nor a certificate."""

    address: str
    protocol: str | None
    certificate_until: datetime | None


def probe(recipient: Recipient, *, allow_private_addresses: bool, timeout_s: float) -> ProbeResult:
    """Connect like a POST, by the same rules, and send nothing. Raises DeliveryFailed."""
    until_s = time.monotonic() + timeout_s
    with _failures_raised(recipient.reference, timeout_s):
        url, addresses = _allowed(recipient, timeout_s, private=allow_private_addresses)
        return asyncio.run(_within(until_s - time.monotonic(), _connected(url, addresses)))


def is_public(address: str) -> bool:
    """Return whether an address is public: not loopback, link-local, private or carrier-grade NAT.

    An IPv6 address that embeds an IPv4 address is as public as that.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        if ip in _NAT64:
            return is_public(str(IPv4Address(ip.packed[-4:])))
        if ip.is_site_local or (ip.sixtofour is not None and not is_public(str(ip.sixtofour))):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


# ----------------------------------------------------------------------------------------------------------------------

_PORTS = {"https": 443, "http": 80}


def _allowed(recipient: Recipient, timeout_s: float, *, private: bool) -> tuple[httpx.URL, list[str]]:
    """Return the URL and the addresses to try, all of them allowed."""
    url = httpx.URL(recipient.address)
    addresses = _resolved(url.raw_host.decode(), _port(url), timeout_s)
    _refuse_forbidden(recipient.reference, url, addresses, private=private)
    return url, addresses


def _port(url: httpx.URL) -> int:
    return url.port or _PORTS[url.scheme]


def _resolved(host: str, port: int, timeout_s: float) -> list[str]:
    """Return the addresses of a name, in the order to try. Resolving has no time-out, hence the thread."""
    found: SimpleQueue[list[str] | OSError | UnicodeError] = SimpleQueue()

    def resolve() -> None:
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(str(address[0]) for *_, address in answers)))
        except (OSError, UnicodeError) as error:
            found.put(error)

    Thread(target=resolve, name=f"resolve {host}", daemon=True).start()
    try:
        answer = found.get(timeout=timeout_s)
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _refuse_forbidden(shown: str, url: httpx.URL, addresses: list[str], *, private: bool) -> None:
    public = {address: is_public(address) for address in addresses}
    if url.scheme == "http" and (not private or any(public.values())):
        raise DeliveryFailed(shown, "nothing is sent unencrypted but within one's own network", permanent=True)
    if not private and not all(public.values()):
        bad = next(address for address in addresses if not public[address])
        answer = (
            f"{url.host} is at the address {bad}, which is not public; "
            "delivery.allowPrivateAddresses in the settings allows it"
        )
        raise DeliveryFailed(shown, answer, permanent=True)


async def _within(seconds: float, attempt: Coroutine[Any, Any, T]) -> T:
    async with asyncio.timeout(seconds):
        return await attempt


async def _connected(url: httpx.URL, addresses: list[str]) -> ProbeResult:
    """Return the first reachable address, after closing the connection."""
    *others, last = addresses
    for address in others:
        try:
            return await _connected_to(address, url)
        except ssl.SSLCertVerificationError:
            raise
        except OSError:
            continue
    return await _connected_to(last, url)


async def _connected_to(address: str, url: httpx.URL) -> ProbeResult:
    name = url.raw_host.decode()
    encrypted = {"ssl": trusted_context(), "server_hostname": name} if url.scheme == "https" else {}
    _, writer = await asyncio.open_connection(address, _port(url), **encrypted)  # type: ignore[arg-type]
    try:
        line, certificate = writer.get_extra_info("ssl_object"), writer.get_extra_info("peercert")
        until = ssl.cert_time_to_seconds(certificate["notAfter"]) if certificate else None
        return ProbeResult(
            address, line.version() if line else None, datetime.fromtimestamp(until, UTC) if until else None
        )
    finally:
        writer.transport.abort()


async def _enqueue_notice(
    url: httpx.URL, addresses: list[str], body: bytes, headers: dict[str, str], *, private: bool
) -> httpx.Response:
    """Return the response's head from the first reachable address."""
    *others, last = addresses
    for address in others:
        try:
            return await _post_to(address, url, body, headers, private=private)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    return await _post_to(last, url, body, headers, private=private)


async def _post_to(
    address: str, url: httpx.URL, body: bytes, headers: dict[str, str], *, private: bool
) -> httpx.Response:
    # The caller bounds the total time; no inner time-out may end first.
    client = httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=False, verify=trusted_context())  # noqa: S113
    async with client:
        if not private:
            # Check again at the connection itself, whatever happened in between.
            httpx_ssrf_protection(client, custom_validator=lambda _host, ip, _port: is_public(str(ip)))
        named = headers | {"host": url.netloc.decode(), "user-agent": USER_AGENT, "accept-encoding": "identity"}
        extensions = {"sni_hostname": url.raw_host.decode()}
        async with client.stream(
            "POST", url.copy_with(host=address), content=body, headers=named, extensions=extensions
        ) as response:
            return response


@cache
def trusted_context() -> ssl.SSLContext:
    """Return the client's TLS context with the trusted issuers."""
    return httpx.create_ssl_context()


@contextmanager
def _failures_raised(shown: str, timeout_s: float) -> Iterator[None]:
    try:
        yield
    except SSRFProtectionError as error:
        raise DeliveryFailed(shown, f"its address {error.ip_addr} is not public", permanent=True) from error
    except (TimeoutError, httpx.TimeoutException) as error:
        raise DeliveryFailed(shown, f"no answer within {timeout_s:g} s", permanent=False) from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.LocalProtocolError, UnicodeError) as error:
        # No request can be made of it: waiting changes neither the URL nor what was to be sent.
        answer = f"no request can be made: {error or type(error).__name__}; correct its URL in delivery.recipients"
        raise DeliveryFailed(shown, answer, permanent=True) from error
    except (httpx.HTTPError, OSError) as error:
        answer = f"cannot be reached: {error or type(error).__name__}"
        raise DeliveryFailed(shown, answer, permanent=False) from error


_has_secret: ContextVar[bool] = ContextVar("_has_secret", default=False)

# httpx logs the URL of every request, which may contain the secret to post there.
logging.getLogger("httpx").addFilter(lambda _record: not _has_secret.get())


@contextmanager
def _unlogged() -> Iterator[None]:
    token = _has_secret.set(True)
    try:
        yield
    finally:
        _has_secret.reset(token)


def _retry_after_s(response: httpx.Response, now: datetime) -> float | None:
    """Return the Retry-After of the response in either form of RFC 9110; None if missing or invalid."""
    retry_after = response.headers.get("retry-after", "")
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            until = parsedate_to_datetime(retry_after)
        except ValueError:
            return None
        seconds = (until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
