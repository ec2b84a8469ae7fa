"""Mail: sent to an SMTP server over TLS with a time limit, one recipient at a time."""

from __future__ import annotations

import re
import smtplib
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parseaddr
from threading import Timer
from typing import Literal

from pydantic import SecretStr

from models.environment import Environment
from models.errors import DeliveryFailed, DeliveryUncertain, MailTooLarge

READY, TOO_MUCH, NOT_YET, WEAK_LOGIN, CLEAR_LOGIN = 220, 552, 530, 534, 538
PERMANENT = 500
"""First SMTP reply code for permanent errors (RFC 5321, 4.2.1)."""

_ENHANCED = re.compile(r"[245]\.(\d{1,3}\.\d{1,3})\b")
"""The enhanced status code at the start of a reply, without its class (RFC 3463)."""

_TOO_LARGE = ("3.4", "2.3")


@dataclass(frozen=True)
class MailServer:
    """Mail server. `timeout_s` is for a whole mail, not for each response."""

    host: str
    port: int
    security: Literal["starttls", "tls", "none"]
    username: str | None
    password: SecretStr | None
    timeout_s: float


def server_of(environment: Environment, password: SecretStr | None, timeout_s: float) -> MailServer:
    """Return the server that the environment names, with this password."""
    return MailServer(
        environment.smtp_host, environment.smtp_port, environment.smtp_security, environment.smtp_username, password,
        timeout_s,
    )  # fmt: skip


def greet(sender: str, server: MailServer, recipients: Iterable[str] = ()) -> str:
    """Do all steps before a mail without sending one; return the session's properties.

    Raises DeliveryFailed, also for a recipient whose kind of address the server does not take.
    """
    where = f"{server.host}:{server.port}"
    with _failures_raised(where, where, server), _session(server) as session:
        for recipient in recipients:
            _options(session, recipient, b"", sender)
        _accepted(where, session.mail(parseaddr(sender)[1], _options(session, where, b"", sender)), server)
        session.rset()
        cipher = session.sock.version() if isinstance(session.sock, ssl.SSLSocket) else None
    agreed = [cipher or "not encrypted", "logged in" if server.password is not None else "without a login"]
    return ", ".join((f"{where} takes mail from {parseaddr(sender)[1]}", *agreed))


def send_mail(
    message: bytes, sender: str, recipient: str, server: MailServer, *, before_commit: Callable[[], None]
) -> str:
    """Send a message and return the server's response, with the enhanced status code if given.

    `before_commit` is called right before the message's content: if the response is lost after that,
    it is unknown whether the message arrived. Its exceptions stop the sending.

    Raises MailTooLarge if it is larger than the server takes, DeliveryFailed if it was not accepted for another reason,
    DeliveryUncertain if the final response was lost.
    """
    where = f"{server.host}:{server.port}"
    with _failures_raised(recipient, where, server), _session(server) as session:
        options = _options(session, recipient, message, sender)
        _accepted(recipient, session.mail(parseaddr(sender)[1], options), server, of_size=True)
        _accepted(recipient, session.rcpt(recipient), server)
        before_commit()
        return _committed(session, message, recipient)


# ----------------------------------------------------------------------------------------------------------------------


class _Session(smtplib.SMTP):
    """Session that another thread can cut off at any time, even while it connects over TLS."""

    def __init__(self, server: MailServer, context: ssl.SSLContext) -> None:
        self.server, self.context = server, context
        self.line: socket.socket | None = None
        self.is_cut_off = False
        super().__init__(timeout=server.timeout_s)
        # STARTTLS checks the certificate against this name.
        self._host = server.host

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = socket.create_connection((host, port), timeout)
        # TLS takes over the socket; a duplicate can still shut it down.
        self.line = plain.dup()
        if self.is_cut_off:
            # It was cut off before there was a socket.
            plain.close()
            raise TimeoutError
        # The timer cuts off what takes too long: the socket's own time-out would give another message.
        plain.settimeout(2 * timeout)
        if self.server.security == "tls":
            return self.context.wrap_socket(plain, server_hostname=host)
        return plain

    def cut_off(self) -> None:
        self.is_cut_off = True
        if self.line is not None:
            # The connection may have just ended.
            with _ignored(OSError):
                self.line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        super().close()
        if self.line is not None:
            self.line.close()


@contextmanager
def _session(server: MailServer) -> Iterator[_Session]:
    context = ssl.create_default_context()
    session = _Session(server, context)
    # A socket time-out restarts with every byte: it does not limit a server that sends slowly.
    watch = Timer(server.timeout_s, session.cut_off)
    watch.daemon = True
    watch.start()
    try:
        code, text = session.connect(server.host, server.port)
        if code != READY:
            raise smtplib.SMTPConnectError(code, text)
        if server.security == "starttls":
            session.starttls(context=context)
        if server.username is not None and server.password is not None:
            session.login(server.username, server.password.get_secret_value())
        session.ehlo_or_helo_if_needed()
        yield session
    except (smtplib.SMTPException, OSError) as error:
        if session.is_cut_off or isinstance(error, TimeoutError):
            raise TimeoutError(f"not done within {server.timeout_s:g} s") from error
        raise
    finally:
        _leave(session)
        watch.cancel()
        session.close()


def _leave(session: smtplib.SMTP) -> None:
    """Send QUIT; accepted mail stays accepted if that fails."""
    with _ignored(smtplib.SMTPException, OSError):
        session.quit()


@contextmanager
def _ignored(*errors: type[Exception]) -> Iterator[None]:
    try:
        yield
    except errors:
        return


def _options(session: _Session, recipient: str, message: bytes, sender: str) -> list[str]:
    """Return what to say of a mail before it is sent. Raises DeliveryFailed for what the server does not offer."""
    where = f"{session.server.host}:{session.server.port}"
    options = []
    if not f"{parseaddr(sender)[1]}{recipient}".isascii():
        if not session.has_extn("smtputf8"):
            # Like an unknown mailbox: waiting does not change what the server can do.
            answer = (f"{where} takes only ASCII before the @ of an address (it does not offer SMTPUTF8): "
                      "name another in delivery.recipients or ROUTEWATCH_MAIL_FROM")  # fmt: skip
            raise DeliveryFailed(recipient, answer, permanent=True)
        options.append("SMTPUTF8")
    if not message.isascii() and session.has_extn("8bitmime"):
        options.append("BODY=8BITMIME")
    if message and session.has_extn("size"):
        most = _number(session.esmtp_features["size"])
        if most and len(message) > most:
            raise MailTooLarge(recipient, f"{where} takes {most:,} bytes, and the mail has {len(message):,}")
        options.append(f"SIZE={len(message)}")
    return options


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _accepted(recipient: str, reply: tuple[int, bytes], server: MailServer, *, of_size: bool = False) -> str:
    """Return a positive reply as text. Raises for any other; `of_size` is for one that depends on the mail's size.

    A refusal that a setting of this side causes is retried, so that nothing is lost once a person has changed it.
    """
    code, text = reply
    answer = f"{code} {text.decode(errors='replace')}"
    if 200 <= code < 300:  # noqa: PLR2004 - the class of positive replies
        return answer
    enhanced = match[1] if (match := _ENHANCED.match(answer.partition(" ")[2])) else ""
    if of_size and (enhanced in _TOO_LARGE or (code == TOO_MUCH and not enhanced)):
        raise MailTooLarge(recipient, answer)
    if code == NOT_YET:
        raise DeliveryFailed(recipient, f"{answer}: {_not_yet_remedy(answer, server)}", permanent=False)
    raise DeliveryFailed(recipient, answer, permanent=code >= PERMANENT)


def _not_yet_remedy(answer: str, server: MailServer) -> str:
    """Return what a server wants first that refuses everything: encryption, by its words, or else a login."""
    wants_tls = re.search(r"TLS|SSL|encrypt", answer, re.IGNORECASE) is not None
    if wants_tls and server.security == "none":
        return "set ROUTEWATCH_SMTP_SECURITY to starttls, or to tls (mostly port 465)"
    if server.username is None:
        return "set ROUTEWATCH_SMTP_USERNAME and _PASSWORD"
    return "ask the mail server's administrator what it wants"


def _committed(session: _Session, message: bytes, recipient: str) -> str:
    try:
        return _accepted(recipient, session.data(message), session.server, of_size=True)
    except smtplib.SMTPDataError as error:
        reply = error.smtp_code, _as_bytes(error.smtp_error)
        return _accepted(recipient, reply, session.server, of_size=True)
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        late = f"no answer within {session.server.timeout_s:g} s" if session.is_cut_off else str(error)
        raise DeliveryUncertain(recipient, late or type(error).__name__) from error


@contextmanager
def _failures_raised(recipient: str, where: str, server: MailServer) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        answer = f"the certificate of {where} is not trusted: {error.verify_message}"
        raise DeliveryFailed(recipient, answer, permanent=False) from error
    except smtplib.SMTPAuthenticationError as error:
        # Temporary, whatever the code: the mail is correct, and someone can correct the login.
        # The server's text may contain the user name.
        remedy = "check ROUTEWATCH_SMTP_USERNAME and _PASSWORD"
        if server.security == "none" and error.smtp_code in (NOT_YET, WEAK_LOGIN, CLEAR_LOGIN):
            remedy = "set ROUTEWATCH_SMTP_SECURITY to starttls or tls: it takes no password in the clear"
        answer = f"{where} refused the login ({error.smtp_code}): {remedy}"
        raise DeliveryFailed(recipient, answer, permanent=False) from None
    except smtplib.SMTPNotSupportedError as error:
        answer = f"{where}: {error}: check ROUTEWATCH_SMTP_SECURITY"
        raise DeliveryFailed(recipient, answer, permanent=False) from error
    except smtplib.SMTPResponseException as error:
        answer = f"{error.smtp_code} {_as_bytes(error.smtp_error).decode(errors='replace')}"
        raise DeliveryFailed(recipient, answer, permanent=False) from error
    except (smtplib.SMTPException, OSError) as error:
        raise DeliveryFailed(recipient, f"cannot reach {where}: {error}", permanent=False) from error


def _as_bytes(text: bytes | str) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
