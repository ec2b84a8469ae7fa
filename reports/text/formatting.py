"""Numbers, money and times as a reader of the report's locale expects them. Unknown is "no data", never 0."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_currency, format_decimal, format_percent

if TYPE_CHECKING:
    from models.documents import Coverage, Interval, PeriodPart

NO_DATA = "no data"
_MS_PER_S = 1_000
_S_PER_MIN = 60
_SMALLEST_POINTS = 0.01
_SMALLEST_USD = 1e-8
_H_PER_DAY = 24


@dataclass(frozen=True)
class Formats:
    """All of it for one locale and one reporting zone."""

    locale: str
    zone: str

    # --- plain numbers ------------------------------------------------------------------------------------------------

    def count(self, number: float | None) -> str:
        return NO_DATA if number is None else str(format_decimal(round(number), "#,##0", locale=self.locale))

    def number(self, number: float | None, digits: int = 2) -> str:
        if number is None:
            return NO_DATA
        return str(format_decimal(_no_minus_zero(number, digits), "#,##0." + "#" * digits, locale=self.locale))

    def percent(self, share: float | None) -> str:
        """A share of 0..1, with more digits the smaller it is; neither 0 % nor 100 % unless it is exactly that."""
        if share is None:
            return NO_DATA
        if 0 < abs(share) < 0.0001:  # noqa: PLR2004 - the smallest that two digits can show
            return f"<{self._percent(0.0001, 2)}"
        digits = 0 if share in (0, 1) else 2 if abs(share) < 0.01 else 1  # noqa: PLR2004
        shown = round(share, digits + 2)
        if abs(share) < 1 <= abs(shown):
            shown = math.copysign(0.999, share)
        return self._percent(shown, digits)

    def round_percent(self, share: float) -> str:
        """A share that somebody chose, such as a target, without needless digits."""
        return self._percent(share, 2, fixed=False)

    def signed_percent(self, share: float | None) -> str:
        return NO_DATA if share is None else sign(share) + self.percent(abs(share))

    def points(self, difference: float) -> str:
        """The difference of two shares in percentage points."""
        points = abs(difference) * 100
        if 0 < points < _SMALLEST_POINTS:
            return f"{sign(difference)}<{self.number(_SMALLEST_POINTS)} pp"
        return f"{sign(difference)}{self.number(points, 2 if points < 1 else 1)} pp"

    # --- money and durations ------------------------------------------------------------------------------------------

    def money(self, usd: float | None) -> str:
        """US dollars: cents, or two significant digits where an amount is smaller than ten cents."""
        if usd is None:
            return NO_DATA
        if 0 < abs(usd) < _SMALLEST_USD:
            return f"<{self._dollars(_SMALLEST_USD, 8)}"
        small = 0 < abs(usd) < 0.1  # noqa: PLR2004
        return self._dollars(usd, min(8, 1 - math.floor(math.log10(abs(usd)))) if small else 2)

    def rough_money(self, usd: float | None) -> str:
        """Without cents from a hundred dollars on, for estimates and headlines."""
        return self.money(usd) if usd is None or abs(usd) < 100 else self._dollars(usd, 0)  # noqa: PLR2004

    def round_money(self, usd: float) -> str:
        """An amount that somebody chose, such as a tick of an axis: without cents where there are none."""
        return self._dollars(usd, 0) if usd == round(usd) else self.money(usd)

    def signed_money(self, usd: float | None) -> str:
        return NO_DATA if usd is None else ("+" if usd > 0 else "") + self.money(usd)

    def milliseconds(self, ms: float | None) -> str:
        """A duration in the unit that keeps it short: 840 ms, 2.31 s, 3.5 min, 4.2 h, 11 days."""
        if ms is None:
            return NO_DATA
        if abs(ms) < _MS_PER_S:
            return f"{self.number(ms, 0 if abs(ms) >= 10 else 1)} ms"  # noqa: PLR2004
        seconds = ms / _MS_PER_S
        if abs(seconds) < 2 * _S_PER_MIN:
            return f"{self.fixed(seconds, 2 if abs(seconds) < 10 else 1)} s"  # noqa: PLR2004
        if abs(seconds) < 2 * _S_PER_MIN**2:
            return f"{self.fixed(seconds / _S_PER_MIN, 1)} min"
        return self._long_duration(seconds)

    def short_duration(self, ms: float) -> str:
        """A duration that somebody chose, such as a target, without needless digits."""
        seconds = ms / _MS_PER_S
        if seconds >= 2 * _S_PER_MIN**2:
            return self._long_duration(seconds)
        return f"{self.number(ms, 1)} ms" if 0 < ms < _MS_PER_S else f"{self.number(seconds, 2)} s"

    def signed_milliseconds(self, ms: float | None) -> str:
        return NO_DATA if ms is None else sign(ms) + self.milliseconds(abs(ms))

    # --- times --------------------------------------------------------------------------------------------------------

    def local(self, instant: datetime) -> datetime:
        return instant.astimezone(ZoneInfo(self.zone))

    def instant(self, instant: datetime | None) -> str:
        """Date, time and the offset that held: 12 Oct 2026, 14:05 UTC+2."""
        if instant is None:
            return NO_DATA
        return f"{self.day(instant)}, {self.clock(instant)} {self.offset(instant)}"

    def clock(self, instant: datetime) -> str:
        return str(format_time(self.local(instant), "short", locale=self.locale)).replace("\u202f", "\u00a0")

    def day(self, instant: datetime) -> str:
        return str(format_date(self.local(instant), "medium", locale=self.locale))

    def short_day(self, instant: datetime) -> str:
        """Weekday and day of the month, for an axis."""
        return str(format_skeleton("MMMd", self.local(instant), locale=self.locale))

    def offset(self, instant: datetime) -> str:
        """UTC, UTC+2 or UTC+5:30; abbreviations such as CST mean several zones."""
        return _offset(self.local(instant).utcoffset() or timedelta())

    def range(self, start: datetime, end: datetime) -> str:
        """From one instant to another; the day and the offset once where they are the same."""
        first, last = self.local(start), self.local(end)
        if first.date() == last.date() and first.utcoffset() == last.utcoffset():
            return f"{self.day(start)}, {self.clock(start)} – {self.clock(end)} {self.offset(end)}"
        return f"{self.instant(start)} – {self.instant(end)}"

    def period(self, period: PeriodPart) -> str:
        """A span with the zone."""
        return f"{self.span(period.start, period.end)} ({self.zone})"

    def span(self, start: datetime, end: datetime) -> str:
        """Whole days by their dates, anything else with times."""
        first, until = self.local(start), self.local(end)
        if (first.hour, first.minute, until.hour, until.minute) != (0, 0, 0, 0):
            return self.range(start, end)
        last = until - timedelta(hours=1)
        if first.date() == last.date():
            return str(format_date(first, "full", locale=self.locale))
        return f"{self.day(first)} – {self.day(last)}"

    # --- what is known, and how well ----------------------------------------------------------------------------------

    def coverage(self, coverage: Coverage) -> str:
        """In whole percent; 100 % only where it is all of them. Empty where there is nothing to know."""
        if coverage.of == 0:
            return ""
        if 0 < coverage.share < 0.01:  # noqa: PLR2004 - one percent
            return f"known for less than {self._percent(0.01, 0)}"
        share = 1.0 if coverage.known == coverage.of else min(coverage.share, 0.99)
        return f"known for {self._percent(share, 0)}"

    def interval(self, interval: Interval | None, show: str) -> str:
        """Return the bounds as "low to high" by the named method of this class, or empty if unknown."""
        if interval is None or interval.low is None or interval.high is None:
            return ""
        one: Any = getattr(self, show)
        return f"{one(interval.low)} to {one(interval.high)}"

    def fixed(self, number: float, digits: int) -> str:
        """With exactly so many digits, as a column wants it."""
        return str(format_decimal(_no_minus_zero(number, digits), "#,##0." + "0" * digits, locale=self.locale))

    def _long_duration(self, seconds: float) -> str:
        hours = seconds / _S_PER_MIN**2
        if abs(hours) < 2 * _H_PER_DAY:
            return f"{self.fixed(hours, 1)} h"
        return f"{self.number(hours / _H_PER_DAY, 1)} days"

    def _dollars(self, usd: float, digits: int) -> str:
        pattern = Locale.parse(self.locale).currency_formats["standard"].pattern.split(";")[0]
        fixed = pattern.replace("0.00", f"0.{'0' * digits}".rstrip("."))
        text = format_currency(round(abs(usd), digits), "USD", fixed, locale=self.locale, currency_digits=False)
        return ("−" if round(usd, digits) < 0 else "") + str(text)

    def _percent(self, share: float, digits: int, *, fixed: bool = True) -> str:
        pattern = Locale.parse(self.locale).percent_formats[None].pattern
        with_digits = pattern.replace("#,##0", "#,##0." + ("0" if fixed else "#") * digits) if digits else pattern
        return str(format_percent(_no_minus_zero(share, digits + 2), with_digits, locale=self.locale))


def _offset(offset: timedelta) -> str:
    minutes = round(offset.total_seconds() / _S_PER_MIN)
    if minutes == 0:
        return "UTC"
    hours, rest = divmod(abs(minutes), _S_PER_MIN)
    return f"UTC{'+' if minutes > 0 else '−'}{hours}" + (f":{rest:02d}" if rest else "")


def sign(number: float) -> str:
    """The sign in front of a difference; a typographic minus, as wide as a plus."""
    return "+" if number > 0 else "−" if number < 0 else "±"


def _no_minus_zero(number: float, digits: int) -> float:
    rounded = round(number, digits)
    return 0.0 if rounded == 0 else rounded
