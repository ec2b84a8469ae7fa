"""Dispatch: one claimed delivery made ready and sent, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import Row

from models.context import Workplace
from models.errors import DeliveryFailed
from models.schema import DeliveryState
from tasks.delivery.payloads import Parcel, parcel_of
from tasks.delivery.queue import Pace, Verdict, note_handing_over
from tasks.delivery.sender import Sender, Sending


class Dispatch:
    """Sends what one run delivers; what is the same for several recipients is made once."""

    def __init__(self, place: Workplace, pace: Pace, clock: Callable[[], datetime]) -> None:
        self.place, self.pace, self.clock = place, pace, clock
        self._sender = Sender(place, pace, clock)
        self._parcel: Parcel | None = None
        self._keeping = Lock()

    def attempt(self, row: Row[Any]) -> Verdict:
        """Send it; whatever goes wrong is a verdict too."""
        known = self.place.settings.delivery.recipient(row.channel, row.recipient)
        if known is None:
            return Verdict(DeliveryState.DEAD, "it is no longer in delivery.recipients of the settings")
        return self._sender.attempt(known, lambda: self._sending(row))

    def _sending(self, row: Row[Any]) -> Sending:
        with self._keeping:
            parcel = self._parcel = parcel_of(row, self._parcel)

        def before_handing_over() -> None:
            if not note_handing_over(self.place.engine, row):
                raise DeliveryFailed(row.recipient, "another sender has taken it over", permanent=False)

        name, message_id = f"{parcel.name}-delivery-{row.id}", f"{parcel.name.replace('-', '_')}_{row.id}"
        return Sending(parcel, name, message_id, row.queued_at, before_handing_over)
