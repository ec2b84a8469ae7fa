"""Derive the complexity from the prompt's tokens by rule, if the source does not report it."""

from __future__ import annotations

import polars as pl

from models.settings import ComplexityRule


def derive_complexity(rows: pl.DataFrame, rule: ComplexityRule | None) -> pl.DataFrame:
    """The same rows with missing `complexity` derived from `prompt_tokens`, and `complexity_derived` marking those."""
    derived = pl.lit(None, dtype=pl.String) if rule is None else _by_tokens(rule)
    was_derived = pl.col("complexity").is_null() & derived.is_not_null()
    return rows.with_columns(
        complexity=pl.coalesce("complexity", derived),
        complexity_derived=pl.when(was_derived).then(True),
    )


def _by_tokens(rule: ComplexityRule) -> pl.Expr:
    tokens = pl.col("prompt_tokens")
    return (
        pl.when(tokens >= rule.complex_from_tokens)
        .then(pl.lit("complex"))
        .when(tokens >= rule.moderate_from_tokens)
        .then(pl.lit("moderate"))
        .when(tokens.is_not_null())
        .then(pl.lit("simple"))
    )
