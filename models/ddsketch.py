"""The latency histogram: logarithmic bins that keep every percentile within 1 % of the exact one.

The scheme is DDSketch (Masson, Rim and Lee, VLDB 2019): with gamma = (1 + a) / (1 - a), bin i holds the values in
(gamma^(i-1), gamma^i], and the bin's representative value is off by at most the share `a` for all of them.
"""

from __future__ import annotations

import math

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
LOG_GAMMA = math.log(GAMMA)

SMALLEST_MS = 1e-3
"""Durations below a microsecond share one bin, whose value is 0: router clocks do not resolve them."""

ZERO_BIN = -(2**15)
"""The bin of durations below SMALLEST_MS; less than the index of any other."""


def bin_of(value_ms: float) -> int:
    """The bin that holds a duration of at least 0 ms."""
    return ZERO_BIN if value_ms < SMALLEST_MS else math.ceil(math.log(value_ms) / LOG_GAMMA)


def value_of(bin_index: int) -> float:
    """The duration in ms that represents a bin: within RELATIVE_ERROR of every value in it."""
    return 0.0 if bin_index == ZERO_BIN else 2 * GAMMA**bin_index / (GAMMA + 1)
