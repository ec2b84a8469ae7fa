"""A notice as a mail: the severity in the subject, a text, and small HTML that looks like a report's."""

from __future__ import annotations

import textwrap

from reports.assets.template_engine import fill, style
from reports.notices.notice import Notice, cut, more_text
from reports.renderers.email import MailContent, inlined

MOST_ITEMS = 50
LONGEST_SUBJECT = 150

_LINE = 78


def render_notice_mail(notice: Notice) -> MailContent:
    """What the mail is made of; it has neither pictures nor attachments."""
    subject = cut(" ".join(f"{notice.mark} {notice.headline}".split()), LONGEST_SUBJECT)
    items = notice.remaining_items[:MOST_ITEMS]
    left_out = more_text(notice.left_out(len(items)))
    rules = style("mail_narrow.css", "mail_dark.css")
    page = fill("notice_mail.html.j2", notice=notice, subject=subject, items=items, left_out=left_out, rules=rules)
    lines = [notice.headline, *(f"- {item.line}" for item in items), left_out, notice.hint, notice.link]
    text = "\n\n".join(textwrap.fill(line, _LINE, break_long_words=False) for line in lines if line)
    return MailContent(subject, f"{text}\n\n-- \n{notice.footer}\n", inlined(page), (), ())
