"""Confidence sequences: bounds of an estimate that hold at all looks at once, however often and whenever one looks.

A fixed 95 % interval that is looked at every hour excludes the truth sooner or later. A confidence sequence excludes
it at any look at all with probability alpha. Robbins (1970) mixes the likelihood ratio over effects; Howard, Ramdas,
McAuliffe and Sekhon (Annals of Statistics 2021, section 3.2) give the one-sided Gaussian mixture; Waudby-Smith, Arbour,
Sinha, Kennedy and Ramdas (Annals of Statistics 2024) show that it holds asymptotically with an estimated variance.
"""

from __future__ import annotations

import math
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
    if isinstance(information, float) and isinstance(tuned_at, float):
        return _one_radius(information, alpha, tuned_at / _spread_of(2 * alpha))
    known = np.asarray(information, dtype=np.float64)
    prior = np.asarray(tuned_at, dtype=np.float64) / _spread_of(2 * alpha)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        whole = known + prior
        radius = np.sqrt(2 * whole * np.log1p(np.sqrt(whole / prior) / (2 * alpha))) / known
    return np.where((known > 0) & (prior > 0) & np.isfinite(radius), radius, np.inf)


def widened(radius: Any, information: Any, freedom: Any) -> Any:
    """Return the radius, widened for a variance that was estimated with few degrees of freedom.

    Peiser's first term for Student's quantile (1943), z + (z³ + z) / (4 · freedom), with z the radius in standard
    errors. Clusters are few, requests are not. Vectorised.
    """
    if isinstance(radius, float) and isinstance(information, float):
        errors = radius * math.sqrt(information)
        return radius * (1 + (errors**2 + 1) / (4 * max(freedom, LEAST_FREEDOM))) if errors < math.inf else math.inf
    with np.errstate(invalid="ignore"):
        errors = np.asarray(radius) * np.sqrt(information)
        factor = 1 + (errors**2 + 1) / (4 * np.maximum(freedom, LEAST_FREEDOM))
    return np.asarray(radius) * np.where(np.isfinite(factor), factor, 1.0)


# ----------------------------------------------------------------------------------------------------------------------


def _one_radius(information: float, alpha: float, prior: float) -> float:
    """Return the radius of one look: the same in plain numbers, which is much quicker than an array of one."""
    if not (0 < information < math.inf and 0 < prior < math.inf):
        return math.inf
    whole = information + prior
    return math.sqrt(2 * whole * math.log1p(math.sqrt(whole / prior) / (2 * alpha))) / information


def _spread_of(alpha: float) -> float:
    """Return tuned information over r (Waudby-Smith et al. 2024, appendix: without Lambert's W, to about 1 %)."""
    return -2 * math.log(alpha) + math.log(1 - 2 * math.log(alpha))
