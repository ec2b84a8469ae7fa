"""A mail as it travels: its parts in one message, whose bytes follow from what it is made of."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, parseaddr

from models.documents import Document
from models.notifications import Message
from reports.file_names import file_stem
from reports.notices.alert_notice import notice_of
from reports.notices.email import render_notice_mail
from reports.notices.mail_size import MailSize
from reports.renderers.email import MailContent, render_mail
from reports.renderers.report_file import as_file


def build_mail(
    document: Document,
    *,
    report_id: int,
    sender: str,
    recipient: str,
    date: datetime,
    link: str = "",
    size: MailSize = MailSize.WHOLE,
) -> bytes:
    """A report: text and HTML with its images, and its attachments. Equal arguments give equal bytes.

    `link` is where the whole report can be opened, if anywhere. A smaller mail says where its files are.

    The Message-ID depends on report and recipient alone, so that a mail sent again is known as the same one.
    """
    stem = file_stem(document, report_id)
    files_at = None if size is MailSize.WHOLE else f"reports/{document.kind}/{stem}.* in ROUTEWATCH_HOME"
    content = render_mail(document, link=link, files_at=files_at)
    if size is MailSize.TEXT_ALONE:
        content = replace(content, html="", images=())
    identity = _identity(str(report_id), recipient)
    message = _message(
        content, name=f"report-{report_id}", identity=identity, sender=sender, recipient=recipient, date=date
    )
    _attach(message, document, content)
    return _bytes(message, identity)


def build_message_mail(message: Message, *, message_id: int, sender: str, recipient: str, date: datetime) -> bytes:
    """A message as a mail, with a Message-ID of its own for each recipient. Equal arguments give equal bytes."""
    name = f"message-{message_id}"
    content, identity = render_notice_mail(notice_of(message)), _identity(name, recipient)
    mail = _message(content, name=name, identity=identity, sender=sender, recipient=recipient, date=date)
    return _bytes(mail, identity)


# ----------------------------------------------------------------------------------------------------------------------


def _identity(what: str, recipient: str) -> str:
    return hashlib.sha256(f"{what}:{recipient}".encode()).hexdigest()[:24]


def _message(
    content: MailContent, *, name: str, identity: str, sender: str, recipient: str, date: datetime
) -> EmailMessage:
    # Without SMTPUTF8, a header cannot hold an address with other letters than ASCII's.
    message = EmailMessage(policy=SMTP if f"{parseaddr(sender)[1]}{recipient}".isascii() else SMTPUTF8)
    message["Subject"] = content.subject
    message["From"] = sender
    message["To"] = recipient
    message["Date"] = format_datetime(date)
    message["Message-ID"] = f"<{name}.{identity}@{_domain(sender)}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(content.text)
    if not content.html:
        return message
    message.add_alternative(content.html, subtype="html")
    page = message.get_payload(1)
    assert isinstance(page, EmailMessage)  # noqa: S101 - it was added in the line above
    for cid, picture in content.images:
        file_name = f"{cid.split('@')[0]}.png"
        page.add_related(picture, "image", "png", cid=f"<{cid}>", filename=file_name, disposition="inline")
    return message


def _attach(message: EmailMessage, document: Document, content: MailContent) -> None:
    for form, name in content.attachments:
        file, written = as_file(document, form), io.BytesIO()
        file.write(written)
        main_type, _, subtype = file.content_type.partition("/")
        message.add_attachment(written.getvalue(), main_type, subtype, filename=name)


def _bytes(message: EmailMessage, identity: str) -> bytes:
    """Boundaries are fixed: by themselves they are another each time."""
    multiparts = (part for part in message.walk() if part.is_multipart())
    for number, part in enumerate(multiparts):
        part.set_boundary(f"=_{identity}_{number}")
    return message.as_bytes()


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"
