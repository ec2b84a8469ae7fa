"""Sum the hours over all models, complexities and teams, for the time series of reports."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

SUMS = (
    "count", "error_count", "response_time_count", "response_time_sum_ms", "response_time_sum_sq", "over_target_count",
    "cost_count", "cost_sum_usd", "cost_sum_sq", "cache_count", "cache_hit_count", "cache_hit_cost_count",
    "cache_hit_cost_sum_usd", "cache_hit_cost_sum_sq", "accuracy_count", "accuracy_sum", "accuracy_sum_sq",
    "satisfaction_count", "satisfaction_sum", "prompt_token_count", "prompt_token_sum", "completion_token_count",
    "completion_token_sum",
)  # fmt: skip


class _Joined:
    """SQLite has no aggregate that joins bytes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def step(self, part: bytes) -> None:
        self._parts.append(part)

    def finalize(self) -> bytes:
        return b"".join(self._parts)


def upgrade() -> None:
    joined = "string_agg(latency_histogram, ''::bytea)"
    if op.get_bind().dialect.name == "sqlite":
        driver = op.get_bind().connection.driver_connection
        driver.create_aggregate("joined_bytes", 1, _Joined)  # type: ignore[union-attr]
        joined = "joined_bytes(latency_histogram)"
    # Histograms behind one another are one too: whoever reads it adds equal bins up.
    op.execute(
        f"INSERT INTO rollup (level, bucket, model_id, complexity, team, {', '.join(SUMS)}, latency_histogram) "  # noqa: S608
        f"SELECT 'hour_total', bucket, '', '', '', {', '.join(f'sum({name})' for name in SUMS)}, {joined} "
        "FROM rollup WHERE level = 'hour' GROUP BY bucket"
    )
