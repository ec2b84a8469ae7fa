"""What the loop may do by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from models.settings.block import SettingsBlock


class NumericKnob(SettingsBlock):
    """Bounds of a number that Routewatch may move."""

    minimum: Annotated[float, Field(gt=0)]
    """It is never set lower."""
    maximum: Annotated[float, Field(gt=0)]
    """It is never set higher."""
    factor: Annotated[float, Field(gt=1)] = 2.0
    """One change multiplies it by at most this."""

    @model_validator(mode="after")
    def _ordered(self) -> NumericKnob:
        if self.minimum > self.maximum:
            raise ValueError("expected minimum <= maximum")
        return self


class ChoiceKnob(SettingsBlock):
    """The values that a setting may take."""

    choices: Annotated[tuple[str, ...], Field(min_length=2)]
    """The values, from the weakest to the strongest; one change moves one place."""


class Optimizer(SettingsBlock):
    """What the loop may do by itself.

    Numbers without a source in the product document are chosen to be careful: a change needs a full day's evidence,
    and a key is left alone for a day after it was changed.
    """

    mode: Literal["off", "propose", "auto"] = "auto"
    """`off` changes nothing, `propose` leaves every decision to a person, `auto` applies by itself what is safe."""
    minimum_sample: Annotated[int, Field(ge=1)] = 100
    """A change needs at least so many selections as evidence, and as many to be judged by."""
    cool_down_hours: Annotated[float, Field(gt=0)] = 24.0
    """A key rests this long after a change, twice as long after each time that it was taken back."""
    observe_hours: Annotated[float, Field(gt=0)] = 24.0
    """A change is observed for at least this long before it is kept."""
    observe_max_hours: Annotated[float, Field(gt=0)] = 168.0
    """A change is observed for at most this long."""
    proposal_days: Annotated[float, Field(gt=0)] = 7.0
    """A proposal expires this long after a run last found it, if nobody has decided."""
    random_split: bool = False
    """The router hands out models at random within a complexity class: then savings are not observational."""
    router_usd_per_request: Annotated[float, Field(ge=0)] | None = None
    """What the router itself costs a request, in USD. It is taken off the savings."""
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
