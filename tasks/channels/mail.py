"""Mail: a report as a message whose identity is stable, handed to an SMTP server over TLS."""

from __future__ import annotations

import hashlib
import io
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr

from models.document import Document
from models.environment import Environment
from models.errors import DeliveryFailed, DeliveryUncertain
from reports.as_file import as_file
from reports.as_mail import MailContent, render_mail

TIMEOUT_S = 30.0
PERMANENT = 500
"""SMTP replies from here on say that trying again cannot help (RFC 5321, 4.2.1)."""


def build_mail(
    document: Document, *, report_id: int, sender: str, recipient: str, date: datetime, link: str = ""
) -> bytes:
    """The message: text and HTML with its images, and its attachments. Equal arguments give equal bytes.

    `link` is where the whole report can be opened, if anywhere.

    The Message-ID depends on report and recipient alone, so that a mail sent again is known as the same one.
    """
    content = render_mail(document, link=link)
    message = EmailMessage(policy=SMTP)
    message["Subject"] = content.subject
    message["From"] = sender
    message["To"] = recipient
    message["Date"] = format_datetime(date)
    identity = hashlib.sha256(f"{report_id}:{recipient}".encode()).hexdigest()[:24]
    message["Message-ID"] = f"<report-{report_id}.{identity}@{_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    _fill(message, content)
    _attach(message, document, content)
    _fix_boundaries(message, identity)
    return message.as_bytes()


def send_mail(message: bytes, sender: str, recipient: str, environment: Environment) -> str:
    """Hand a message to the SMTP server; its answer.

    Raises DeliveryFailed where it was not accepted, DeliveryUncertain where the answer to the whole of it was lost.
    """
    where = f"{environment.smtp_host}:{environment.smtp_port}"
    with _failures_told(recipient, where), _session(environment) as session:
        _accepted(recipient, session.mail(parseaddr(sender)[1]))
        _accepted(recipient, session.rcpt(recipient))
        return _handed_over(session, message, recipient)


# ----------------------------------------------------------------------------------------------------------------------


def _fill(message: EmailMessage, content: MailContent) -> None:
    message.set_content(content.text)
    message.add_alternative(content.html, subtype="html")
    page = message.get_payload(1)
    assert isinstance(page, EmailMessage)  # noqa: S101 - it was added in the line above
    for cid, picture in content.images:
        name = f"{cid.split('@')[0]}.png"
        page.add_related(picture, "image", "png", cid=f"<{cid}>", filename=name, disposition="inline")


def _attach(message: EmailMessage, document: Document, content: MailContent) -> None:
    for form, name in content.attachments:
        file, written = as_file(document, form), io.BytesIO()
        file.write(written)
        main_type, _, subtype = file.content_type.partition("/")
        message.add_attachment(written.getvalue(), main_type, subtype, filename=name)


def _fix_boundaries(message: EmailMessage, identity: str) -> None:
    multiparts = (part for part in message.walk() if part.is_multipart())
    for number, part in enumerate(multiparts):
        part.set_boundary(f"=_{identity}_{number}")


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"


@contextmanager
def _session(environment: Environment) -> Iterator[smtplib.SMTP]:
    host, port = environment.smtp_host, environment.smtp_port
    context = ssl.create_default_context()
    if environment.smtp_security == "tls":
        session: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=TIMEOUT_S, context=context)
    else:
        session = smtplib.SMTP(host, port, timeout=TIMEOUT_S)
    try:
        if environment.smtp_security == "starttls":
            session.starttls(context=context)
        if environment.smtp_username is not None and environment.smtp_password is not None:
            session.login(environment.smtp_username, environment.smtp_password.get_secret_value())
        session.ehlo_or_helo_if_needed()
        yield session
    finally:
        _leave(session)


def _leave(session: smtplib.SMTP) -> None:
    """Take leave where the other side still listens; what was accepted stays accepted if it does not."""
    try:
        session.quit()
    except (smtplib.SMTPException, OSError):
        session.close()


def _accepted(recipient: str, reply: tuple[int, bytes]) -> str:
    code, text = reply
    answer = f"{code} {text.decode(errors='replace')}"
    if not 200 <= code < 300:  # noqa: PLR2004 - the class of positive replies
        raise DeliveryFailed(recipient, answer, permanent=code >= PERMANENT)
    return answer


def _handed_over(session: smtplib.SMTP, message: bytes, recipient: str) -> str:
    try:
        return _accepted(recipient, session.data(message))
    except smtplib.SMTPDataError as error:
        return _accepted(recipient, (error.smtp_code, _as_bytes(error.smtp_error)))
    except (smtplib.SMTPServerDisconnected, OSError) as error:
        raise DeliveryUncertain(recipient, str(error) or type(error).__name__) from error


@contextmanager
def _failures_told(recipient: str, where: str) -> Iterator[None]:
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        answer = f"the certificate of {where} is not trusted: {error.verify_message}"
        raise DeliveryFailed(recipient, answer, permanent=False) from error
    except smtplib.SMTPAuthenticationError as error:
        # The server's own words may repeat the user name.
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
