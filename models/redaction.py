"""Hide secrets by their values, wherever they stand: those of the environment and those that were read elsewhere."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from threading import Lock
from urllib.parse import parse_qsl, quote, quote_plus, unquote, unquote_plus, urlsplit

REDACTED = "…"

SHORTEST = 4
"""Shortest redacted secret in characters: a shorter one would match in every text."""

SHORTEST_UNSURE = 8
"""The same of what only might be a secret, by the name of its variable or its place in an address."""

MOST_REMEMBERED = 10_000
"""Secrets kept that are in no variable; what comes later is not hidden."""

_WHOLE = ("ROUTEWATCH_SMTP_PASSWORD", "PREFECT_API_KEY", "PREFECT_SERVER_DATABASE_PASSWORD", "PGPASSWORD")
_AUTH_STRINGS = ("PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")
_SIGNING = "whsec_"
_SECRET_NAME = re.compile(r"(?i)(secret|secret_key|password|passwd|passphrase|token|api_?key|access_?key)$")
_SECRET_OPTION = re.compile(r"(?i)pass|pwd|secret|token|key|sig$|signature|auth")
_NO_SECRET_OPTIONS = frozenset({"sslkey", "passfile"})
_NO_SECRETS = frozenset({"routewatch", "postgres", "prefect", "localhost", "password", "true", "false", "none", "null"})
"""Words that stand in every output: whoever took one for a password has no secret."""

_ON_EVERY_WAY = frozenset({"services", "webhooks", "webhook", "webhookb2", "IncomingWebhook", "workflows", "triggers"})
"""What the paths of chats' addresses have before their tokens."""


def secrets_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Every secret in the variables, valid or not, the longest first: one may contain another."""
    return _sorted(_secrets(environment))


def known_secrets() -> tuple[str, ...]:
    """The secrets of this process: of its environment, and those that were remembered; the longest first."""
    with _lock:
        values, names = tuple(_values), tuple(_names)
    return _known(tuple(os.environ.items()), values, names)


def remember(*secrets: str) -> None:
    """Hide these from now on, such as what a Secret block holds."""
    with _lock:
        _values.update(dict.fromkeys(secrets[: max(0, MOST_REMEMBERED - len(_values))]))


def remember_address(address: str) -> None:
    """Hide what is secret in an address from now on: password, token, options, what its path has of tokens."""
    remember(*secrets_of_address(address))


def remember_variable(name: str) -> None:
    """Hide what this variable of the environment holds, whenever it holds something."""
    with _lock:
        if len(_names) < MOST_REMEMBERED:
            _names[name] = None


def hide(text: str) -> str:
    """The text with an ellipsis in place of each secret that this process knows."""
    return redact(text, known_secrets())


def redact(text: str, secrets: Iterable[str]) -> str:
    """The text with an ellipsis in place of each of the secrets."""
    for secret in secrets:
        if secret in text:
            text = text.replace(secret, REDACTED)
    return text


def secrets_of_address(address: str) -> tuple[str, ...]:
    """What is secret in a URL of a database, an API or a webhook; nothing if it is none."""
    try:
        parts = urlsplit(address.strip())
        user, password = parts.username or "", parts.password or ""
    except ValueError:
        # A port that is no number, half a bracket: a person's slip must not show the password.
        user, _, password = address.partition("://")[2].rpartition("@")[0].partition(":")
        return tuple(word for word in (password,) if len(word) >= SHORTEST)
    if not parts.scheme or (not parts.netloc and "?" not in address):
        return ()
    found = [unquote(password)]
    if user and not password and "http" in parts.scheme and len(user) >= SHORTEST_UNSURE:
        found.append(unquote(user))
    if user and _may_be_hidden(unquote(password)):
        plain = f"{unquote(user)}:{unquote(password)}"
        found += [plain, base64.b64encode(plain.encode()).decode()]
    options = (*parse_qsl(parts.query), *parse_qsl(parts.fragment))
    for name, value in options:
        if _SECRET_OPTION.search(name) and name.lower() not in _NO_SECRET_OPTIONS:
            found.append(value)
    return tuple(word for word in found if len(word) >= SHORTEST)


def secrets_of_webhook(url: str) -> tuple[str, ...]:
    """What is secret in a webhook's URL that may not be shown as it is: all of it beyond its host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return (url,)
    way = parts.path + (f"?{parts.query}" if parts.query else "")
    words = [*parts.path.split("/"), *(value for _, value in parse_qsl(parts.query)), parts.fragment]
    unsure = (word for word in (way, *words) if len(word) >= SHORTEST_UNSURE and word.strip("/") not in _ON_EVERY_WAY)
    return (url, *secrets_of_address(url), *unsure)


# ----------------------------------------------------------------------------------------------------------------------

_lock = Lock()
_values: dict[str, None] = {}
_names: dict[str, None] = {}


@lru_cache(maxsize=8)
def _known(variables: tuple[tuple[str, str], ...], values: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    environment = dict(variables)
    held = [environment.get(name, "") for name in names]
    return _sorted([*_secrets(environment), *values, *held, *(it for text in held for it in secrets_of_webhook(text))])


def _sorted(secrets: Iterable[str]) -> tuple[str, ...]:
    plain = {word for word in secrets if _may_be_hidden(word)}
    spelled = {spelling for word in plain for spelling in _spellings(word) if len(spelling) >= SHORTEST}
    return tuple(sorted(spelled, key=lambda word: (-len(word), word)))


def _may_be_hidden(word: str) -> bool:
    return len(word) >= SHORTEST and word.lower() not in _NO_SECRETS


def _spellings(secret: str) -> Iterator[str]:
    """As URLs, JSON and Python's own texts write it."""
    yield from (
        secret,
        quote(secret, safe=""),
        quote(secret),
        quote_plus(secret),
        unquote(secret),
        unquote_plus(secret),
    )
    yield from (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1])


def _secrets(environment: Mapping[str, str]) -> Iterator[str]:
    named = {name.upper(): value for name, value in environment.items()}
    for name in _WHOLE:
        yield named.get(name, "").strip()
    for secret in named.get("ROUTEWATCH_WEBHOOK_SECRET", "").split():
        yield secret
        yield secret.removeprefix(_SIGNING)
    for entry in named.get("ROUTEWATCH_TOKENS", "").split():
        # name:scopes:secret, also if it is malformed.
        yield from entry.split(":")[2:3] or [entry]
    for name in _AUTH_STRINGS:
        if password := named.get(name, "").partition(":")[2]:
            yield password
            yield base64.b64encode(named[name].encode()).decode()
    for name, value in named.items():
        if "://" in value:
            for word in value.split():
                yield from secrets_of_address(word)
        elif _SECRET_NAME.search(name) and len(value.strip()) >= SHORTEST_UNSURE:
            yield value.strip()
