"""Attribution: who decided something, with what note, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from models.errors import UsageError

LONGEST_NAME = 200


@dataclass(frozen=True)
class Attribution:
    """A person's decision: by whom, with what note, and when."""

    by: str
    note: str
    at: datetime

    def __post_init__(self) -> None:
        if not self.by.strip() or len(self.by) > LONGEST_NAME:
            raise UsageError(f"a name of 1 to {LONGEST_NAME} letters is needed: it goes on record with the decision")
