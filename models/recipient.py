"""Parse recipients: their channel, the form to show and store, and the address itself, which may be secret."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from models.redaction import remember, remember_variable, secrets_of_webhook

CONSOLE, DASHBOARD, EMAIL, WEBHOOK = "console", "dashboard", "email", "webhook"

BUILT_IN = (CONSOLE, DASHBOARD)
"""Channels without an address."""

_CHAT_HOSTS = {
    "slack": re.compile(r"hooks\.slack(-gov)?\.com"),
    "teams": re.compile(r".+\.(webhook\.office\.com|logic\.azure\.com|powerplatform\.com)"),
    "discord": re.compile(r"((ptb|canary)\.)?discord(app)?\.com"),
}
CHATS = tuple(_CHAT_HOSTS)
"""Services whose webhooks need their own format."""

_SECRET = "secret:"  # noqa: S105 - the prefix of a secret's name
_SECRET_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")

_LONGEST_PLAIN, _LONGEST_PLAIN_WITH_DIGITS = 23, 15
"""Characters in a path segment, without and with digits, beyond which it counts as a token."""

_FINGERPRINT = 6

LONGEST_REFERENCE = 250
"""Characters of a reference, which is part of a unique key; a longer URL is stored and shown by its host."""

_LONGEST_HOST, _LONGEST_LABEL, _LONGEST_SECRET_NAME = 253, 63, 200


@dataclass(frozen=True)
class Recipient:
    """An entry of delivery.recipients. `reference` may be stored and shown; `address` is for sending only.

    `secret_name` names the secret that holds the address, if the entry does not contain it.
    """

    channel: str
    reference: str
    address: str = field(default="", repr=False)
    secret_name: str = ""


@lru_cache(maxsize=4_096)
def parse_recipient(text: str) -> Recipient:
    """Parse an entry of the settings: mailto:, https:, http: or secret:, the latter optionally after a chat's name.

    Raises ValueError with the fault, without any part of the entry that could be secret.
    """
    if text.startswith("mailto:"):
        return _mailbox(text.removeprefix("mailto:"))
    chat, plus, rest = text.partition("+")
    if not plus or chat not in CHATS:
        chat, rest = "", text
    if rest.startswith(_SECRET):
        name = rest.removeprefix(_SECRET)
        if not _SECRET_NAME.fullmatch(name):
            raise ValueError("the name after secret: has other characters than letters, digits, - and _")
        if len(name) > _LONGEST_SECRET_NAME:
            raise ValueError(f"the name after secret: has more than {_LONGEST_SECRET_NAME} characters")
        remember_variable(name)
        return Recipient(chat or WEBHOOK, text, secret_name=name)
    return parse_url(rest, chat)


def normal_mailbox(address: str) -> str:
    """Return a mail address as mail servers know it: the domain in ASCII. Raises ValueError for anything else."""
    return _mailbox(address).address


def parse_url(url: str, chat: str = "") -> Recipient:
    """The recipient of a URL; `chat` names the service, if the host does not show it. Raises ValueError."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        raise ValueError("its port is not a number up to 65535") from None
    if parts.scheme not in ("https", "http"):
        raise ValueError(f"expected {', '.join(('mailto:', 'https:', 'http:', _SECRET))} or one of {_prefixes()}")
    if not parts.hostname or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        raise ValueError("it is not a URL with a host and without spaces")
    if fault := _host_fault(parts.hostname):
        raise ValueError(fault)
    channel = chat or _chat_of(parts)
    if not channel and not _holds_secret(parts) and len(url) <= LONGEST_REFERENCE:
        return Recipient(WEBHOOK, url, url)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    remember(*secrets_of_webhook(url))
    shown = f"{parts.scheme}://{host}{f':{port}' if port else ''}/…#{_fingerprint(url)}"
    return Recipient(channel or WEBHOOK, shown, url)


def is_in_the_clear(recipient: Recipient) -> bool:
    """Whether the connection to it is unencrypted."""
    return recipient.address.startswith("http:")


def is_literally_public(recipient: Recipient) -> bool:
    """Whether its host is a public IP address; for a name this is known only after resolution."""
    try:
        return ip_address(urlsplit(recipient.address).hostname or "").is_global
    except ValueError:
        return False


# ----------------------------------------------------------------------------------------------------------------------


def _mailbox(address: str) -> Recipient:
    from email_validator import EmailNotValidError, validate_email  # noqa: PLC0415 - its patterns take long to compile

    try:
        found = validate_email(address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise ValueError(f"{address!r} is not a mail address ({str(error).splitlines()[0]})") from None
    # One that is ASCII stays as it was stored before.
    normal = address if address.isascii() else f"{found.local_part}@{found.ascii_domain}"
    return Recipient(EMAIL, normal, normal)


def _host_fault(host: str) -> str | None:
    """Return why a host cannot be looked up; None if it can, whether or not it exists."""
    if len(host) > _LONGEST_HOST:
        return f"its host has more than {_LONGEST_HOST} characters"
    if not host.isascii():
        import idna  # noqa: PLC0415 - its tables take long to read, and few hosts need them

        try:
            idna.encode(host, uts46=True)
        except UnicodeError as error:
            return f"its host is no international domain ({error})"
    elif ":" not in host and not all(0 < len(it) <= _LONGEST_LABEL for it in host.removesuffix(".").split(".")):
        return f"its host has a part between dots that is empty or longer than {_LONGEST_LABEL} characters"
    return None


def _chat_of(parts: SplitResult) -> str:
    host = (parts.hostname or "").rstrip(".")
    chats = [chat for chat, hosts in _CHAT_HOSTS.items() if hosts.fullmatch(host)]
    if chats == ["discord"] and not parts.path.startswith("/api/"):
        return ""
    return chats[0] if chats else ""


def _holds_secret(parts: SplitResult) -> bool:
    if "@" in parts.netloc or parts.query or parts.fragment:
        return True
    return any(_is_token(segment) for segment in parts.path.split("/"))


def _is_token(segment: str) -> bool:
    has_digits = any(character.isdigit() for character in segment)
    return len(segment) > (_LONGEST_PLAIN_WITH_DIGITS if has_digits else _LONGEST_PLAIN)


def _fingerprint(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:_FINGERPRINT]


def _prefixes() -> str:
    return ", ".join(f"{chat}+https:" for chat in CHATS)
