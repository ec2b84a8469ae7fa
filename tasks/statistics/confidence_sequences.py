"""Confidence sequences: bounds of an estimate that hold at all looks at once, however often and whenever one looks.

A fixed 95 % interval that is looked at every hour excludes the truth sooner or later. A confidence sequence excludes
it at any look at all with probability alpha. Robbins (1970) mixes the likelihood ratio over effects; Howard, Ramdas,
McAuliffe and Sekhon (Annals of Statistics 2021, section 3.2) give the one-sided Gaussian mixture; Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas (Annals of Statistics 2024) show that it holds asymptotically with an estimated variance.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import numpy as np

LEAST_FREEDOM = 1.0


def mixture_radius(information: Any, alpha: float, *, tuned_at: Any) -> Any:
    """Return the one-sided radius: estimate - radius stays below the truth at all looks, with probability 1 - alpha.

    `information` is one over the variance of the estimate, a number or an array; where it is 0 the radius is infinite.
    The bound is the closed form of the half-normal mixture (Waudby-Smith et al. 2024, one-sided sequence),

        sqrt(2 (I + r) / I² · log(1 + sqrt((I + r) / r) / (2 alpha))),

    and holds for every r > 0. r is chosen so that the radius is about narrowest at the information `tuned_at`, which
    the data must not choose. The bound on the other side is by symmetry. Raises ValueError for an alpha outside of
    0..0.5.
    """
    if not 0 < alpha < 0.5:  # noqa: PLR2004 - one-sided
        raise ValueError(f"alpha is {alpha}, expected is a number between 0 and 0.5")
    known = np.asarray(information, dtype=np.float64)
    prior = np.asarray(tuned_at, dtype=np.float64) / _spread_of(2 * alpha)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        whole = known + prior
        radius = np.sqrt(2 * whole * np.log1p(np.sqrt(whole / prior) / (2 * alpha))) / known
    radius = np.where((known > 0) & (prior > 0) & np.isfinite(radius), radius, np.inf)
    return float(radius) if radius.ndim == 0 else radius


def needed_information(distance: float, alpha: float, *, tuned_at: float, power: float = 0.5) -> float:
    """Return the information at which the radius leaves room for `distance` with the probability `power`.

    That is, where radius + z(power) / sqrt(information) = distance; infinite for a distance of 0.
    """
    if distance <= 0:
        return math.inf
    slack, prior = NormalDist().inv_cdf(power), tuned_at / _spread_of(2 * alpha)

    def reach(information: float) -> float:
        whole = information + prior
        radius = math.sqrt(2 * whole * math.log1p(math.sqrt(whole / prior) / (2 * alpha))) / information
        return radius + slack / math.sqrt(information)

    low, high = 0.0, (10 / distance) ** 2
    while reach(high) > distance:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if reach(middle) > distance else (low, middle)
    return high


def widened(radius: Any, information: Any, freedom: Any) -> Any:
    """Return the radius, widened for a variance that was estimated with few degrees of freedom.

    Peiser's first term for Student's quantile (1943), z + (z³ + z) / (4 · freedom), with z the radius in standard
    errors. Clusters are few, requests are not. Vectorised.
    """
    with np.errstate(invalid="ignore"):
        errors = np.asarray(radius) * np.sqrt(information)
        factor = 1 + (errors**2 + 1) / (4 * np.maximum(freedom, LEAST_FREEDOM))
    return np.asarray(radius) * np.where(np.isfinite(factor), factor, 1.0)


# ----------------------------------------------------------------------------------------------------------------------


def _spread_of(alpha: float) -> float:
    """Return tuned information over r (Waudby-Smith et al. 2024, appendix: without Lambert's W, to about 1 %)."""
    return -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
