"""Sample-ratio check: whether two arms got the shares of requests that were asked for, at any look.

Under the shares that were asked, the likelihood ratio of other shares is a martingale, and so is a mixture of such
ratios: an e-process, which exceeds 1/alpha at any look at all with probability alpha (Ville). Mixing for multinomial
counts: Lindon and Malek, "Anytime-valid inference for multinomial count data" (2022); here the mixture is over factors
by which the odds of the candidate are off, as what goes wrong (pinned requests, missing rows) outlives a step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.statistics.confidence_sequences import mixture_radius, widened

FALSE_ALARM = 0.001
"""Probability that shares that were kept are ever called off, over all looks."""

TUNED_AT = 2_000.0
"""Requests after which shares by clusters are compared most sharply."""

_LOG_ODDS = np.concatenate([sign * np.geomspace(0.02, 6.0, 40) for sign in (-1.0, 1.0)])
"""Errors of the odds that are mixed, from 2 % to 400-fold, alike dense on the log scale."""


@dataclass(frozen=True)
class SampleRatio:
    """How the candidate's share of requests compares with what was asked.

    `asked` is the mean of the asked shares over the requests that came. `evidence` is the largest e-value of any look:
    above 1/FALSE_ALARM the shares differ (`is_off`), and stay so. None where clusters were compared.
    """

    requests: int
    observed: float | None
    asked: float | None
    evidence: float | None
    is_off: bool


UNCHECKED = SampleRatio(requests=0, observed=None, asked=None, evidence=None, is_off=False)


def sample_ratio(candidate: Any, baseline: Any, asked: Any, *, false_alarm: float = FALSE_ALARM) -> SampleRatio:
    """Return the last of sample_ratios; of no hours, that nothing is known."""
    evaluations = sample_ratios(candidate, baseline, asked, false_alarm=false_alarm)
    return evaluations[-1] if evaluations else UNCHECKED


def sample_ratios(
    candidate: Any, baseline: Any, asked: Any, *, false_alarm: float = FALSE_ALARM
) -> tuple[SampleRatio, ...]:
    """Compare hourly counts of independently assigned requests with the asked shares of the candidate, at every hour.

    Args are arrays with one value an hour, in order. A share of 0 or 1 that is broken by one request is off.
    """
    largest = np.maximum.accumulate(e_values(candidate, baseline, asked))
    return _results(candidate, baseline, asked, largest, largest >= 1 / false_alarm)


def e_values(candidate: Any, baseline: Any, asked: Any) -> Any:
    """Return the e-process after each hour.

    One half of the stake is on an error that lasts since the start; the other is spread over the steps (runs of one
    asked share), so that an error that begins with a step is found as soon although much went well before.
    """
    yes, no, share = (np.asarray(values, dtype=np.float64) for values in (candidate, baseline, asked))
    if not yes.size:
        return np.ones(0)
    terms = _log_ratios(yes, no, share)
    whole = _mixed(terms)
    starts = [0, *(np.flatnonzero(np.diff(share)) + 1).tolist()]
    parts = np.zeros(len(yes))
    # Stakes 1/2, 1/4, ... on the steps, the remainder is kept: the sum of the stakes is 1 whatever steps are to come.
    for number, (start, end) in enumerate(zip(starts, [*starts[1:], len(yes)], strict=True), 1):
        own = np.ones(len(yes))
        own[start:end] = _mixed(terms[start:end])
        own[end:] = own[end - 1]
        parts += own / 2**number
    parts += 1 / 2 ** len(starts)
    return (whole + parts) / 2


def sample_ratios_by_cluster(
    candidate: Any, baseline: Any, asked: Any, *, false_alarm: float = FALSE_ALARM
) -> tuple[SampleRatio, ...]:
    """Compare counts (hours × clusters) with the asked shares where all requests of a user go to one arm.

    Requests of one user are no independent draws, so chance is taken from the spread over clusters of users: the
    candidate's surplus of requests is 0 on average in each. A two-sided confidence sequence, looked at every hour.
    """
    yes, no = np.asarray(candidate, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    share, every = np.asarray(asked, dtype=np.float64), yes + no
    surplus = np.cumsum(yes - share[:, None] * every, axis=0)
    squares, requests = (surplus**2).sum(axis=1), np.cumsum(every.sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        information = np.where(squares > 0, 1 / squares, 0.0)
        tuned = np.where(requests > 0, information * TUNED_AT / requests, 0.0)
        radius = mixture_radius(information, false_alarm / 2, tuned_at=tuned)
        freedom = 2 * squares**2 / (surplus**4).sum(axis=1)
        off = np.abs(surplus.sum(axis=1)) > widened(radius, information, freedom)
    return _results(yes.sum(axis=1), no.sum(axis=1), asked, None, np.logical_or.accumulate(off))


# ----------------------------------------------------------------------------------------------------------------------


def _log_ratios(yes: Any, no: Any, share: Any) -> Any:
    """Return the log likelihood ratio of every hour (rows) under every error of the odds (columns)."""
    out = np.zeros((len(yes), len(_LOG_ODDS)))
    inside = (share > 0) & (share < 1)
    # By an error d, the candidate's share p becomes p·e^d / (1 - p + p·e^d).
    shift = np.log1p(share[inside, None] * np.expm1(_LOG_ODDS[None, :]))
    out[inside] = yes[inside, None] * _LOG_ODDS - (yes + no)[inside, None] * shift
    impossible = ((share <= 0) & (yes > 0)) | ((share >= 1) & (no > 0))
    out[impossible] = math.inf
    return out


def _mixed(terms: Any) -> Any:
    total = np.cumsum(terms, axis=0)
    top = total.max(axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = np.exp(total - top[:, None]).mean(axis=1)
        return np.where(np.isinf(top), np.inf, np.exp(np.minimum(top, 700.0)) * mean)


def _results(candidate: Any, baseline: Any, asked: Any, evidence: Any, off: Any) -> tuple[SampleRatio, ...]:
    yes = np.cumsum(np.asarray(candidate, dtype=np.float64))
    every = np.asarray(candidate, dtype=np.float64) + np.asarray(baseline, dtype=np.float64)
    whole, wanted = np.cumsum(every), np.cumsum(every * np.asarray(asked, dtype=np.float64))
    return tuple(
        SampleRatio(
            requests=round(whole[hour]),
            observed=float(yes[hour] / whole[hour]) if whole[hour] else None,
            asked=float(wanted[hour] / whole[hour]) if whole[hour] else None,
            evidence=None if evidence is None else float(evidence[hour]),
            is_off=bool(off[hour]),
        )
        for hour in range(len(whole))
    )
