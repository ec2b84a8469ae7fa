"""What the optimizer may do automatically."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from models.settings.block import SettingsBlock


class NumericKnob(SettingsBlock):
    """Bounds of a number that Routewatch may change. A number outside of them stays as it is."""

    minimum: Annotated[float, Field(gt=0)]
    """Lowest value that is changed: a lower one, such as -1 or 0, may be a setting of its own."""
    maximum: Annotated[float, Field(gt=0)]
    """Highest value that is set; a higher one stays as it is."""
    factor: Annotated[float, Field(gt=1)] = 2.0
    """Largest factor of one change."""

    @model_validator(mode="after")
    def _ordered(self) -> NumericKnob:
        if self.minimum > self.maximum:
            raise ValueError("expected minimum <= maximum")
        return self


class ChoiceKnob(SettingsBlock):
    """The values that a setting may have."""

    choices: Annotated[tuple[str, ...], Field(min_length=2)]
    """The values, from the weakest to the strongest; one change moves one step."""


class Rollout(SettingsBlock):
    """How a share of the requests tries a model, at the same time as the rest stays with the old one."""

    steps: Annotated[tuple[Annotated[float, Field(gt=0, le=100)], ...], Field(min_length=1, max_length=20)] = (
        5, 20, 50, 100,
    )  # fmt: skip
    """The candidate's shares in percent, rising; at 100 it is the model of its class."""
    minimum_requests: Annotated[int, Field(ge=1)] = 200
    """Minimum number of the candidate's requests before a step is taken."""
    deadline_hours: Annotated[float, Field(gt=0)] = 336.0
    """How long a rollout lasts at most; then it goes back to 0 %, or on with `optimizer.undecided` = `keep`."""
    by: Literal["request", "user"] = "request"
    """What is assigned: every request for itself, or a user with all requests."""
    common_tokenizer: bool = False
    """Set if both models count prompt tokens alike: cost and time are then adjusted for the prompts' lengths."""
    approve_steps: bool = False
    """Set if a person approves every step."""

    @model_validator(mode="after")
    def _rising(self) -> Rollout:
        if any(later <= earlier for earlier, later in pairwise(self.steps)):
            raise ValueError("expected steps that rise")
        return self


class Switchback(SettingsBlock):
    """How the old and the new value of a setting that all requests share take turns."""

    block_minutes: Annotated[float, Field(ge=10)] = 120.0
    """Length of a block."""
    wash_out_minutes: Annotated[float, Field(ge=0)] = 15.0
    """What is left out at the start of each block, until a router obeys and a cache has settled."""
    minimum_pairs: Annotated[int, Field(ge=6)] = 12
    """Minimum pairs of blocks before a verdict."""
    maximum_pairs: Annotated[int, Field(ge=6)] = 42
    """Maximum pairs of blocks."""

    @model_validator(mode="after")
    def _lasts(self) -> Switchback:
        if self.minimum_pairs > self.maximum_pairs:
            raise ValueError("expected minimumPairs <= maximumPairs")
        if self.wash_out_minutes > self.block_minutes / 2:
            raise ValueError("expected washOutMinutes of at most half of blockMinutes")
        return self


class Optimizer(SettingsBlock):
    """What the optimizer may do automatically.

    Defaults without a source in the product document are cautious: a change needs a full day's evidence, and a key is
    not changed again for a day after a change.
    """

    mode: Literal["off", "propose", "auto"] = "auto"
    """`off` changes nothing, `propose` leaves every decision to a person, `auto` applies safe changes automatically."""
    minimum_sample: Annotated[int, Field(ge=1)] = 100
    """Minimum number of selections as evidence for a change, and again for its assessment."""
    cool_down_hours: Annotated[float, Field(gt=0)] = 24.0
    """How long a key is not changed after a change; it doubles with each revert."""
    observe_hours: Annotated[float, Field(gt=0)] = 24.0
    """Minimum observation time before a change is kept."""
    observe_max_hours: Annotated[float, Field(gt=0)] = 168.0
    """Maximum observation time of a change."""
    trial: Literal["auto", "split", "switchback", "beforeAfter"] = "auto"
    """How a change is tried; `auto` is the strongest way that the router allows."""
    undecided: Literal["revert", "keep"] = "revert"
    """What becomes of a change of which it cannot be told whether it is worse."""
    rollout: Rollout = Rollout()
    """How a share of the requests tries a model."""
    switchback: Switchback = Switchback()
    """How the old and the new value of a setting take turns."""
    proposal_days: Annotated[float, Field(gt=0)] = 7.0
    """How long an undecided proposal is open after a run last found it."""
    random_split: bool = False
    """Set if models are assigned at random within a complexity class. Savings stay observational unless it shows."""
    router_usd_per_request: Annotated[float, Field(ge=0)] | None = None
    """Cost of the router itself per request, in USD. It is subtracted from the savings."""
    cache_max_entries: NumericKnob = NumericKnob(minimum=100, maximum=1_000_000)
    """The bounds of `cache.max_entries`."""
    cache_ttl_seconds: NumericKnob = NumericKnob(minimum=60, maximum=604_800)
    """The bounds of `cache.ttl_seconds`."""
    cache_key_strategy: ChoiceKnob = ChoiceKnob(choices=("exact", "normalized", "semantic"))
    """The bounds of `cache.key_strategy`."""
    cache_eviction_policy: ChoiceKnob = ChoiceKnob(choices=("fifo", "lru", "lfu"))
    """The bounds of `cache.eviction_policy`."""

    @model_validator(mode="after")
    def _observes(self) -> Optimizer:
        if self.observe_hours > self.observe_max_hours:
            raise ValueError("expected observeHours <= observeMaxHours")
        return self
