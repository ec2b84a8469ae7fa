"""A simulated AI-model router that obeys the config table, so that an applied optimization changes its later traffic.

Its figures are made up. It has what a real one has: a rhythm over day and week, bursts, an incident, a slow model, a
costly one, a badly configured cache, and quality that depends on model and complexity.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from routewatch.rollout import ROLLOUT_PREFIX, RequestSplit, read_rollout

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

DEFAULT_CONFIG: dict[str, Any] = {
    "cache.max_entries": 1_000,
    "cache.ttl_seconds": 900,
    "cache.key_strategy": "exact",
    "cache.eviction_policy": "fifo",
    "routing.simple": "atlas-large",
    "routing.moderate": "atlas-medium",
    "routing.complex": "titan-reason",
    "routing.explore_share": 0.3,
}
"""The router's initial config: simple requests go to a costly model, and the cache is small with a short TTL."""


@dataclass(frozen=True)
class Model:
    """A model's median latency in ms and USD per million tokens; accuracy per complexity of COMPLEXITIES."""

    name: str
    median_ms: float
    spread: float
    prompt_usd: float
    completion_usd: float
    error_rate: float
    accuracy: tuple[float, float, float]
    satisfaction: float


COMPLEXITIES = ("simple", "moderate", "complex")
MODELS = (
    Model("swift-mini", 480, 0.45, 1.0, 4.0, 0.006, (0.99, 0.91, 0.72), 0.84),
    Model("atlas-medium", 1_250, 0.40, 12.0, 48.0, 0.008, (0.985, 0.985, 0.88), 0.87),
    Model("atlas-large", 2_400, 0.45, 200.0, 600.0, 0.012, (0.985, 0.985, 0.98), 0.90),
    Model("titan-reason", 6_400, 0.55, 240.0, 720.0, 0.015, (0.98, 0.98, 0.985), 0.88),
)
TEAMS = ("support", "search", "billing", "growth", "research")
TEAM_SHARES = (0.34, 0.28, 0.16, 0.12, 0.10)
COMPLEXITY_SHARES = ((0.72, 0.24, 0.04), (0.64, 0.29, 0.07), (0.58, 0.34, 0.08), (0.50, 0.36, 0.14), (0.22, 0.40, 0.38))
"""Per team: the shares of simple, moderate and complex requests."""

PROMPT_TOKENS, COMPLETION_TOKENS = (260, 620, 1_500), (110, 320, 800)
TOKEN_SPREAD = 0.5
SLOWER = (0.75, 1.0, 1.7)
"""Per complexity: the factor on the model's latency."""

HOURLY_REQUESTS = 110.0
BURST_SHARE, BURST_FACTOR = 0.015, 3.0
INCIDENT = (datetime(2026, 10, 1, 13, tzinfo=UTC), datetime(2026, 10, 1, 16, tzinfo=UTC))
"""The incident: a model's provider fails often, and the cache is unavailable as well."""
INCIDENT_MODEL, INCIDENT_ERROR_RATE, INCIDENT_SLOWDOWN = "atlas-large", 0.6, 2.5

HIT_MEDIAN_MS, HIT_SPREAD = 38.0, 0.35
LARGEST_HIT_RATE = 0.86
KEY_STRATEGIES = {"exact": 0.66, "normalized": 0.84, "semantic": 1.0}
EVICTION_POLICIES = {"fifo": 0.92, "lru": 0.97, "lfu": 1.0}
ENTRIES_SCALE, TTL_SCALE_S = 600.0, 700.0
REPEATED = (1.0, 0.92, 0.72)
"""Per complexity: the share of the largest hit rate that is reachable, because fewer questions repeat."""

USERS, USER_SPREAD = 600, 1.0
"""How many people ask, and how unequally often."""

FALLBACK_SHARE = 0.02
"""The share of a candidate's requests that the class's old model serves, because the candidate is at its limit."""

ANNOYING_MS = 6_000.0
JUDGED_SHARE, RATED_SHARE, NAMELESS_SHARE = 0.6, 0.12, 0.02


def simulate(
    start: datetime,
    end: datetime,
    config: Mapping[str, Any],
    *,
    seed: int = 7,
    requests_per_hour: float = HOURLY_REQUESTS,
    judged_share: float = JUDGED_SHARE,
    incident_model: str = INCIDENT_MODEL,
) -> pl.DataFrame:
    """Return the selections in [start, end) under a config, by time: columns of a selection, with a request id each.

    Every hour is drawn separately, so the same seed and config give the same rows however the time is cut, and another
    config changes only what it affects. Where a config changes amid an hour, cut there.

    `judged_share` is the share of answers whose accuracy is known, and `incident_model` the one that fails in the
    incident.

    Under a `rollout.CLASS` the class's requests have an experiment and an arm: the one that they were assigned to, also
    where another model served. Requests that explore are not assigned, so they have none.
    """
    start, end = start.astimezone(UTC), end.astimezone(UTC)
    first = start.replace(minute=0, second=0, microsecond=0)
    drawn = partial(
        _hour,
        config=config,
        seed=seed,
        requests_per_hour=requests_per_hour,
        judged_share=judged_share,
        incident_model=incident_model,
    )
    hours = [first + timedelta(hours=step) for step in range(int((end - first) / timedelta(hours=1)) + 1)]
    frames = [frame for hour in hours if (frame := drawn(hour)).height]
    rows = pl.concat(frames) if frames else drawn(first).clear()
    return rows.filter(pl.col("timestamp").is_between(start, end, closed="left")).sort("timestamp", "request_id")


def hit_rate(config: Mapping[str, Any]) -> float:
    """Return the share of repeated simple requests that the cache answers under a config; at most 86 %."""
    entries, ttl_s = float(config["cache.max_entries"]), float(config["cache.ttl_seconds"])
    keys = KEY_STRATEGIES.get(str(config["cache.key_strategy"]), 0.0)
    evicts = EVICTION_POLICIES.get(str(config["cache.eviction_policy"]), 0.0)
    room, life = 1 - np.exp(-entries / ENTRIES_SCALE), 1 - np.exp(-ttl_s / TTL_SCALE_S)
    return float(LARGEST_HIT_RATE * keys * evicts * room * life)


# ----------------------------------------------------------------------------------------------------------------------


def _hour(
    hour: datetime,
    *,
    config: Mapping[str, Any],
    seed: int,
    requests_per_hour: float,
    judged_share: float,
    incident_model: str,
) -> pl.DataFrame:
    index = int(hour.timestamp()) // 3600
    draw = np.random.default_rng([seed, index])
    # The count takes the first two numbers, so that it does not depend on the config.
    burst = BURST_FACTOR if draw.random() < BURST_SHARE else 1.0
    count = int(draw.poisson(requests_per_hour * _rhythm(hour) * burst))
    team = draw.choice(len(TEAMS), size=count, p=TEAM_SHARES)
    complexity = _pick(draw.random(count), np.array(COMPLEXITY_SHARES)[team])
    explores = draw.random(count) < float(config["routing.explore_share"])
    others = draw.integers(0, len(MODELS), count)
    arms = _assign(index, seed, np.where(explores, -1, complexity), config)
    model = np.where(explores, others, _route(complexity, arms, config))
    tokens = [_tokens(draw.standard_normal(count), median, complexity) for median in (PROMPT_TOKENS, COMPLETION_TOKENS)]
    hit = draw.random(count) < hit_rate(config) * np.array(REPEATED)[complexity]
    down = INCIDENT[0] <= hour < INCIDENT[1]
    incident = down & (np.array([it.name for it in MODELS])[model] == incident_model)
    hit &= not down
    failed = ~hit & (draw.random(count) < np.where(incident, INCIDENT_ERROR_RATE, _of("error_rate", model)))
    luck = draw.standard_normal(count)
    missed_ms = _latency(luck, model, complexity, tokens[1]) * np.where(incident, INCIDENT_SLOWDOWN, 1.0)
    took_ms = np.where(hit, HIT_MEDIAN_MS * np.exp(HIT_SPREAD * luck), missed_ms)
    usd = (tokens[0] * _of("prompt_usd", model) + tokens[1] * _of("completion_usd", model)) / 1e6
    accuracy = np.array([it.accuracy for it in MODELS])[model, complexity]
    right, judged = draw.random(count) < accuracy, draw.random(count) < judged_share
    liked = np.clip(
        _of("satisfaction", model) + 0.08 * draw.standard_normal(count) - (took_ms > ANNOYING_MS) * 0.12, 0, 1
    )
    rated, nameless = draw.random(count) < RATED_SHARE, draw.random(count) < NAMELESS_SHARE
    seconds = np.sort(draw.random(count)) * 3600
    kinds = np.array(["timeout", "rate_limited", "server_error"])[draw.integers(0, 3, count)]
    return _as_selections(
        f"{index}-",
        {
            "timestamp": (hour.timestamp() * 1e6 + seconds * 1e6).astype(np.int64),
            "model_id": np.array([it.name for it in MODELS])[model],
            "complexity": np.array(COMPLEXITIES)[complexity],
            "experiment": arms.experiment,
            "arm": arms.arm,
            "unit_bucket": arms.unit_bucket,
            "error_type": kinds,
            "team": np.array(TEAMS)[team],
            "response_time_ms": took_ms.round(1),
            "cost_usd": np.where(hit, 0.0, usd).round(6),
            "accuracy": right.astype(np.float64),
            "user_satisfaction": liked.round(2),
            "prompt_tokens": tokens[0].astype(np.int64),
            "completion_tokens": tokens[1].astype(np.int64),
            "cache_hit": hit,
            "error": failed,
            "judged": judged & ~failed,
            "rated": rated & ~failed,
            "named": ~nameless,
        },
    )


def _as_selections(prefix: str, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Return the drawn columns without unknown values: a failed call has no latency, cost or answer."""
    names = ("model_id", "complexity", "error_type", "team", "experiment", "arm")
    types: dict[str, type[pl.DataType]] = {**dict.fromkeys(names, pl.String), "unit_bucket": pl.Int64}
    served = pl.when(pl.col("error").not_())
    return (
        pl.DataFrame(columns, schema_overrides=types)
        .with_columns(
            *(served.then(name).alias(name) for name in ("response_time_ms", "cost_usd", "completion_tokens")),
            request_id=pl.lit(prefix) + pl.int_range(pl.len()).cast(pl.String),
            timestamp=pl.col("timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            error_type=pl.when("error").then("error_type"),
            accuracy=pl.when("judged").then("accuracy"),
            user_satisfaction=pl.when("rated").then("user_satisfaction"),
            team=pl.when("named").then("team"),
        )
        .drop("judged", "rated", "named")
    )


def _rhythm(hour: datetime) -> float:
    """Return the requests in an hour: a long office day on weekdays, a third of it at weekends, and slow growth."""
    day = np.exp(-(((hour.hour + 0.5 - 14) / 4.5) ** 2))
    weekend = 0.35 if hour.weekday() >= 5 else 1.0  # noqa: PLR2004 - Saturday and Sunday
    weeks = (hour - datetime(2026, 9, 7, tzinfo=UTC)) / timedelta(weeks=1)
    return float((0.25 + 1.5 * day * weekend) * 1.02**weeks)


def _pick(draws: Floats, shares: Floats) -> Ints:
    picked: Ints = np.minimum((draws[:, None] > shares.cumsum(axis=1)).sum(axis=1), shares.shape[1] - 1)
    return picked


@dataclass(frozen=True)
class _Arms:
    """Per request of an hour, what it was assigned to; `served` is the candidate that serves it, else None."""

    experiment: list[str | None]
    arm: list[str | None]
    unit_bucket: list[int | None]
    served: list[str | None]


def _assign(index: int, seed: int, complexity: Ints, config: Mapping[str, Any]) -> _Arms:
    """Assign the requests of an hour by the config's rollouts; those of a class of -1 are not assigned."""
    count = len(complexity)
    arms = _Arms([None] * count, [None] * count, [None] * count, [None] * count)
    splits = {number: split for number, name in enumerate(COMPLEXITIES) if (split := _split(config, name)) is not None}
    if not splits:
        return arms
    # Drawn apart from all else, so that a rollout changes nothing but what it assigns.
    draw = np.random.default_rng([seed, index, 1])
    shares = np.arange(1, USERS + 1) ** -USER_SPREAD
    user, falls_back = draw.choice(USERS, size=count, p=shares / shares.sum()), draw.random(count) < FALLBACK_SHARE
    for row in np.flatnonzero(np.isin(complexity, list(splits))):
        split = splits[int(complexity[row])]
        given = split.assign(f"user-{user[row]}" if split.by == "user" else f"{index}-{row}")
        arms.experiment[row], arms.arm[row], arms.unit_bucket[row] = given.experiment, given.arm, given.unit_bucket
        arms.served[row] = None if falls_back[row] else given.model
    return arms


def _split(config: Mapping[str, Any], complexity: str) -> RequestSplit | None:
    """Return the rollout of a class; None if there is none that can be obeyed."""
    try:
        split = read_rollout(config.get(f"{ROLLOUT_PREFIX}{complexity}"))
    except ValueError:
        return None
    return split if split is not None and split.candidate in {model.name for model in MODELS} else None


def _route(complexity: Ints, arms: _Arms, config: Mapping[str, Any]) -> Ints:
    """Return the candidate where one serves, else the class's model from the config."""
    names = [model.name for model in MODELS]
    chosen = np.array([names.index(config[f"routing.{name}"]) for name in COMPLEXITIES])[complexity]
    served = np.array([-1 if name is None else names.index(name) for name in arms.served], dtype=np.int64)
    return np.where(served < 0, chosen, served)


def _tokens(draws: Floats, median: tuple[int, int, int], complexity: Ints) -> Floats:
    tokens: Floats = np.ceil(np.array(median)[complexity] * np.exp(TOKEN_SPREAD * draws))
    return tokens


def _latency(draws: Floats, model: Ints, complexity: Ints, completion_tokens: Floats) -> Floats:
    longer = (completion_tokens / np.array(COMPLETION_TOKENS)[complexity]) ** 0.5
    median = _of("median_ms", model) * np.array(SLOWER)[complexity] * longer
    took_ms: Floats = median * np.exp(_of("spread", model) * draws)
    return took_ms


def _of(name: str, model: Ints) -> Floats:
    values: Floats = np.array([getattr(it, name) for it in MODELS])[model]
    return values
