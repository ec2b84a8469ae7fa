"""What a delivery carries, in a few words."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

_MESSAGES = {"alerts": "alerts", "deadDeliveries": "notice of deliveries given up", "sample": "sample"}


def what_is_carried(row: Row[Any]) -> str:
    """The report of a row by its kind, template and period, or its message by its kind."""
    if row.content is not None:
        return _MESSAGES.get(row.content["kind"], "message")
    return f"{row.kind} {row.template} {row.period_start:%Y-%m-%d %H:%M}"
