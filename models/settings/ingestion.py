"""The gate that selections pass, whichever way they come."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from models.settings.block import SettingsBlock


class Ingestion(SettingsBlock):
    """What is set aside instead of being counted, and how much of it is kept."""

    maximum_clock_skew_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)] = 60
    """How far a selection's time may be ahead of the clock. Later ones are set aside in the quarantine."""
    maximum_quarantined_rows: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    """How many rows the quarantine keeps. Beyond it the oldest are dropped, and counted."""

    @property
    def clock_skew(self) -> timedelta:
        """`maximum_clock_skew_minutes` as a duration."""
        return timedelta(minutes=self.maximum_clock_skew_minutes)


DEFAULT_INGESTION = Ingestion()
