"""A pick, as the selection table takes it; whoever hands one in has it checked by this."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from models.schema import LARGEST_AMOUNT, MODEL_ID_LENGTH, TEXT_LENGTH


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character")
    return text


def _in_utc(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None


_Text = Annotated[str, Field(max_length=TEXT_LENGTH), AfterValidator(_storable)]
_Amount = Annotated[float, Field(ge=0, le=LARGEST_AMOUNT)]
_Share = Annotated[float, Field(ge=0, le=1)]
_Tokens = Annotated[int, Field(ge=0, le=LARGEST_AMOUNT)]


class Pick(BaseModel):
    """What the table takes; strict, so that True is no number and "1" neither."""

    model_config = ConfigDict(strict=True, protected_namespaces=())

    request_id: Annotated[_Text, Field(min_length=1)]
    timestamp: Annotated[AwareDatetime, AfterValidator(_in_utc)]
    model_id: Annotated[str, Field(min_length=1, max_length=MODEL_ID_LENGTH), AfterValidator(_storable)]
    response_time_ms: _Amount | None
    complexity: _Text | None
    cost_usd: _Amount | None
    cache_hit: bool | None
    accuracy: _Share | None
    user_satisfaction: _Share | None
    error: bool
    error_type: _Text | None
    prompt_tokens: _Tokens | None
    completion_tokens: _Tokens | None
    team: _Text | None
