"""Mail: sent to an SMTP server over TLS with a time limit, one recipient at a time."""

from __future__ import annotations

import smtplib
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parseaddr
from threading import Timer
from typing import Literal

from pydantic import SecretStr

from models.environment import Environment
from models.errors import DeliveryFailed, DeliveryUncertain

READY, LOGIN_NEEDED = 220, 530
PERMANENT = 500
"""First SMTP reply code for permanent errors (RFC 5321, 4.2.1)."""


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


def greet(sender: str, server: MailServer) -> str:
    """Do all steps before a mail without sending one; return the session's properties. Raises DeliveryFailed."""
    where = f"{server.host}:{server.port}"
    with _failures_raised(where, where), _session(server) as session:
        _taken_from(sender, where, where, session)
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

    Raises DeliveryFailed if the message was not accepted, DeliveryUncertain if the final response was lost.
    """
    where = f"{server.host}:{server.port}"
    with _failures_raised(recipient, where), _session(server) as session:
        _taken_from(sender, where, recipient, session)
        _accepted(recipient, session.rcpt(recipient))
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


def _taken_from(sender: str, where: str, recipient: str, session: smtplib.SMTP) -> None:
    reply = session.mail(parseaddr(sender)[1])
    if reply[0] == LOGIN_NEEDED:
        # Like a refused login: someone has to correct it.
        answer = f"{where} wants a login: set ROUTEWATCH_SMTP_USERNAME and _PASSWORD"
        raise DeliveryFailed(recipient, answer, permanent=False)
    _accepted(recipient, reply)


def _accepted(recipient: str, reply: tuple[int, bytes]) -> str:
    code, text = reply
    answer = f"{code} {text.decode(errors='replace')}"
    if not 200 <= code < 300:  # noqa: PLR2004 - the class of positive replies
        raise DeliveryFailed(recipient, answer, permanent=code >= PERMANENT)
    return answer


def _committed(session: _Session, message: bytes, recipient: str) -> str:
    try:
        return _accepted(recipient, session.data(message))
    except smtplib.SMTPDataError as error:
        return _accepted(recipient, (error.smtp_code, _as_bytes(error.smtp_error)))
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        late = f"no answer within {session.server.timeout_s:g} s" if session.is_cut_off else str(error)
        raise DeliveryUncertain(recipient, late or type(error).__name__) from error


@contextmanager
def _failures_raised(recipient: str, where: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        answer = f"the certificate of {where} is not trusted: {error.verify_message}"
        raise DeliveryFailed(recipient, answer, permanent=False) from error
    except smtplib.SMTPAuthenticationError as error:
        # Temporary, whatever the code: the mail is correct, and someone can correct the login.
        # The server's text may contain the user name.
        answer = f"{where} refused the login ({error.smtp_code}): check ROUTEWATCH_SMTP_USERNAME and _PASSWORD"
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
