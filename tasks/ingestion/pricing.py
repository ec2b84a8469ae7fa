"""Impute missing costs of selections from list prices, if the source reports tokens."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import NamedTuple

import polars as pl

_DAY = "cost_priced_on"
_FACTS = ("model_id", "provider", _DAY, "prompt_tokens", "completion_tokens", "cache_read_tokens", "cache_write_tokens")


@dataclass(frozen=True)
class PricedRows:
    """The same rows with `cost_usd` imputed where possible, and `cost_priced_on`: the date of the prices used.

    `unknown_models` counts by model the rows that have tokens but could not be priced.
    """

    rows: pl.DataFrame
    unknown_models: dict[str, int]


def price_missing(rows: pl.DataFrame) -> PricedRows:
    """Compute missing costs from the tokens and the prices in genai-prices for the date of the request (UTC).

    `rows` have timestamp, model_id, cost_usd, both token counts, and provider, cache_read_tokens, cache_write_tokens
    and cache_hit. Hits of the router's cache and rows with a missing count have no list price.
    """
    numbered = rows.with_row_index("_row")
    day = pl.col("timestamp").dt.date().alias(_DAY)
    unpriced = numbered.filter(
        pl.col("cost_usd").is_null()
        & ~pl.col("cache_hit").fill_null(False)
        & pl.col("prompt_tokens").is_not_null()
        & pl.col("completion_tokens").is_not_null()
        & (pl.col("prompt_tokens") + pl.col("completion_tokens") > 0)
    ).with_columns(day)
    if unpriced.is_empty():
        return PricedRows(rows.with_columns(pl.lit(None, dtype=pl.Date).alias(_DAY)), {})
    # The same counts at the same price are frequent: retries, tests, health checks.
    facts = unpriced.select(_FACTS).unique()
    prices = facts.with_columns(_price=pl.Series(_prices(facts), dtype=pl.Float64))
    found = unpriced.select("_row", *_FACTS).join(prices, on=_FACTS, how="left", nulls_equal=True)
    unknown = found.filter(pl.col("_price").is_null())["model_id"].value_counts(sort=True)
    known = found.filter(pl.col("_price").is_not_null()).select("_row", _DAY, "_price")
    imputed = numbered.join(known, on="_row", how="left", maintain_order="left").with_columns(
        cost_usd=pl.coalesce("cost_usd", "_price")
    )
    return PricedRows(imputed.drop("_row", "_price"), dict(unknown.iter_rows()))


# ----------------------------------------------------------------------------------------------------------------------


class _Facts(NamedTuple):
    model: str
    provider: str | None
    day: date
    prompt: int
    completion: int
    cache_read: int | None
    cache_write: int | None


def _prices(facts: pl.DataFrame) -> Iterator[float | None]:
    return (_price(_Facts(*row)) for row in facts.iter_rows())


def _price(facts: _Facts) -> float | None:
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - its table of prices is large

    named = _named(facts.model, facts.provider)
    if named is None:
        return None
    model, provider = named
    details = {"cache_read_tokens": facts.cache_read, "cache_write_tokens": facts.cache_write}
    given = {name: count for name, count in details.items() if count}
    try:
        usage = Usage(input_tokens=facts.prompt, output_tokens=facts.completion, **given)
        at = datetime.combine(facts.day, time(12), UTC)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(calc_price(usage, model, provider_id=provider, genai_request_timestamp=at).total_price)
    except (LookupError, ValueError):
        # Contradictory counts have no price, like an unknown model.
        return None


@lru_cache(maxsize=4_096)
def _named(model: str, provider: str | None) -> tuple[str, str | None] | None:
    """Model and provider as in the price table; None if it does not have them.

    An unknown provider does not get another provider's price: self-hosted models often have the name of a listed one.
    """
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415 - its table of prices is large

    prefix, _, rest = model.partition("/")
    tries = [(model, provider), (rest, provider)] if provider else [(model, None), (rest, prefix)]
    for name, by in tries:
        try:
            if name:
                get_snapshot().find_provider_model(name, None, by, None)
                return name, by
        except LookupError:
            continue
    return None
