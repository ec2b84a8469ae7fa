"""How much of a report a mail carries."""

from __future__ import annotations

from enum import IntEnum


class MailSize(IntEnum):
    """From the largest to the smallest: a mail server that refuses one for its size may take the next."""

    WHOLE = 0
    WITHOUT_FILES = 1
    """Text and HTML with its pictures; the mail says where the files are."""
    TEXT_ALONE = 2
