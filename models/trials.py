"""How a change is tried: what a trial was started with, as its row holds it."""

from __future__ import annotations

from typing import Any, Literal

from models.base import ApiModel
from routewatch.rollout import ROLLOUT_PREFIX, ROUTING_PREFIX

ALL_PERCENT = 100.0


class RolloutPlan(ApiModel):
    """A rollout as it was started: later changes of the settings do not move its steps.

    The baseline is the value of `routing.CLASS`, at `routing_version`, for as long as it runs. `steps` are the
    candidate's shares in percent, rising; at 100 it becomes the model of its class.
    """

    complexity: str
    baseline: str
    candidate: str
    routing_version: int
    experiment: str
    salt: str
    by: Literal["request", "user"]
    steps: tuple[float, ...]
    minimum_requests: int
    approve_steps: bool

    @property
    def routing_key(self) -> str:
        return ROUTING_PREFIX + self.complexity

    @property
    def rollout_key(self) -> str:
        return ROLLOUT_PREFIX + self.complexity

    def value_at(self, percent: float) -> dict[str, Any]:
        """Return the value of `rollout.CLASS` for a share of the candidate in percent."""
        return {
            "candidate": self.candidate,
            "percent": plain(percent),
            "salt": self.salt,
            "by": self.by,
            "experiment": self.experiment,
        }

    def next_percent(self, percent: float) -> float:
        """Return the share of the step after a share; all requests after the last step."""
        return min((step for step in self.steps if step > percent), default=ALL_PERCENT)

    def step_of(self, percent: float) -> int:
        """Return the number of the step, from 0, that a share belongs to."""
        return max(sum(step <= percent for step in self.steps) - 1, 0)

    def needs_approval(self, percent: float) -> bool:
        """Return whether a person approves the step to a share: as asked, or since it is beyond the last step."""
        return self.approve_steps or percent not in self.steps


class SwitchedKey(ApiModel):
    """A key of a switchback with its two values; `version` is that of the config before the first flip."""

    key: str
    baseline: Any
    candidate: Any
    version: int


class SwitchbackPlan(ApiModel):
    """A switchback as it was started: later changes of the settings do not move its blocks.

    `seed` decides the order within each pair of blocks. `complexity` is the only class that the keys affect; None for
    all requests. `wash_out_minutes` is the least that is left out at the start of each block.
    """

    seed: int
    keys: tuple[SwitchedKey, ...]
    complexity: str | None
    block_minutes: int
    wash_out_minutes: int
    minimum_pairs: int
    maximum_pairs: int


def percent_of(value: Any) -> float | None:
    """Return the candidate's share, in percent, of a value of `rollout.CLASS`; None if it has no such form.

    A value of null is no rollout: 0.
    """
    if value is None:
        return 0.0
    percent = value.get("percent") if isinstance(value, dict) else None
    if isinstance(percent, bool) or not isinstance(percent, int | float) or not 0 <= percent <= ALL_PERCENT:
        return None
    return float(percent)


def plain(percent: float) -> float:
    """Return a percentage as JSON shows it best: 5, not 5.0."""
    return int(percent) if percent == int(percent) else percent
