"""Model settings: capacities, weights of events, and what is learned again. They are part of every version.

This file decides what may be set about a model, and within which bounds. Two shards with equal model settings that get
equal records hold equal tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from stream.models.source_names import SOURCES
from stream.values import PERSONAL, Consent, RatingScale

RENAMED: Mapping[str, str] = {
    "items": "max_items",
    "visitors": "max_visitors",
    "sessions": "max_sessions",
    "event_ids": "max_event_ids",
}
"""Today's names of model settings by their names in release 0.1."""


CAPACITIES = ("max_items", "max_visitors", "max_sessions", "max_event_ids", "max_kept_visitors", "max_kept_items")
"""Settings from which the number of rows of tables follows. A model that has versions may get larger ones
(`stream.models.migration`)."""

FIXED = (*CAPACITIES, "repeats")
"""Settings on which the shape of tables depends. `visitor_salt` is kept for another reason (`stream.versions.salt`).
All others decide only how events are learned and ranked from then on."""

DEFAULT_WEIGHTS: Mapping[str, float] = {
    "click": 1.0,
    "view": 1.0,
    "purchase": 3.0,
    "cart": 2.0,
    "like": 2.0,
    "dislike": -2.0,
    "return": -3.0,
}
"""Weight of an event by its kind. A weight that is set replaces the one of its kind alone."""

KNOWN_KINDS = (*DEFAULT_WEIGHTS, "rating")
"""Kinds of events that have a meaning here. A shop may have others of its own."""


def with_new_names(values: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Replace old names of settings by today's.

    Raises:
        ValueError: a setting is given under both names.

    >>> with_new_names({"items": 64, "seed": 1}, RENAMED)
    {'max_items': 64, 'seed': 1}
    """
    if twice := sorted(old for old, new in renamed.items() if old in values and new in values):
        raise ValueError(f"{twice[0]} is the old name of {renamed[twice[0]]}; give {renamed[twice[0]]} alone")
    return {renamed.get(name, name): value for name, value in values.items()}


class ModelSettings(BaseModel):
    """Settings of a model. They are written into every version."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _old_names(cls, values: Any) -> Any:
        """Accept the names that manifests written by release 0.1 have: they compare equal to today's."""
        return with_new_names(values, RENAMED) if isinstance(values, Mapping) else values

    max_items: Annotated[int, Field(ge=64, le=16_000_000)] = Field(
        200_000, description="Most items a shard remembers; if there are more, the weakest are evicted."
    )
    max_visitors: Annotated[int, Field(ge=64, le=100_000_000)] = Field(
        1_000_000,
        description="Most visitors a shard remembers; if there are more, the least recently active are evicted.",
    )
    max_sessions: Annotated[int, Field(ge=64, le=100_000_000)] = Field(
        1_000_000,
        description="Most sessions a shard remembers as neighbours; if there are more, the oldest are evicted.",
    )
    max_event_ids: Annotated[int, Field(ge=64, le=1_000_000_000)] = Field(
        1_000_000, description="Newest event ids among which a repeated event is recognised."
    )
    max_kept_visitors: Annotated[int, Field(ge=64, le=100_000_000)] = Field(
        100_000,
        description="Most visitors whose purchases and dislikes a shard keeps apart from their last events, but never "
        "more than `max_visitors`; if there are more, those who bought and disliked nothing for longest are evicted.",
    )
    max_kept_items: Annotated[int, Field(ge=8, le=256, multiple_of=8)] = Field(
        32,
        description="Most items that each of these visitors bought or disliked; the oldest are forgotten. A multiple "
        "of 8.",
    )
    repeats: Literal["all", "first"] = Field(
        "all",
        description="`all`: every event is learned and known items may be recommended again. `first`: only a visitor's "
        "first event on an item is learned, and items they had are never recommended.",
    )
    ranker: Literal["blend", "river"] = Field(
        "blend",
        description="Model that orders the list: `blend`, the compiled ranker, or `river`, the linear challenger. Both "
        "learn.",
    )
    disabled_sources: tuple[str, ...] = Field(
        (), description='Sources that propose nothing and count for nothing, as JSON: `["embedding"]`.'
    )
    weights: dict[str, Annotated[float, Field(allow_inf_nan=False)]] = Field(
        default_factory=lambda: dict(DEFAULT_WEIGHTS),
        description="Weight of an event by its kind; negative takes weight back. A kind that is left out keeps its "
        "default. Kinds of your own have weight 1, and the weight of a `rating` follows from its value.",
    )

    quantity_exponent: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0,
        description="The weight of a purchase or a return is multiplied by its quantity to this power: with 0 the "
        "quantity doesn't matter, and with 0.5 four pieces count as two.",
    )
    rating_scale: dict[str, float] = Field(
        default_factory=lambda: RatingScale()._asdict(),
        description="Values that a `rating` may have, as JSON: the lowest, the highest, and the `neutral` one that is "
        "neither praise nor blame (the middle if it isn't named). A value outside is a dead letter.",
    )
    null_ids: tuple[str, ...] = Field(
        ("NULL", "null", "Null", "\\N", "NaN", "nan", "None", "none", "undefined", "<NA>", "(null)"),
        description="Words that stand for no id, as JSON; an event whose item, user or session is one of them is not "
        "learned.",
    )
    consent_default: Consent = Field(
        PERSONAL,
        description="Consent of an event that names none: `personal`, `aggregate` (its item is counted, and nothing is "
        "kept under the visitor) or `none` (it is not learned).",
    )

    @field_validator("rating_scale")
    @classmethod
    def _low_neutral_high(cls, value: dict[str, float]) -> dict[str, float]:
        names = RatingScale._fields
        if set(value) - set(names) or not {"low", "high"} <= set(value):
            raise ValueError('a scale has low, high and perhaps neutral, such as {"low": 1, "high": 10}')
        scale = RatingScale(value["low"], value["high"], value.get("neutral", (value["low"] + value["high"]) / 2))
        if not (all(map(math.isfinite, scale)) and scale.low < scale.high and scale.low <= scale.neutral <= scale.high):
            raise ValueError("low is below high, neutral is neither below low nor above high, and all are finite")
        return scale._asdict()

    @property
    def scale(self) -> RatingScale:
        """The scale of ratings."""
        return RatingScale(**self.rating_scale)

    @field_validator("weights")
    @classmethod
    def _over_defaults(cls, value: dict[str, float]) -> dict[str, float]:
        """Keep the default of every kind that is left out, so that no negative kind becomes praise by an omission."""
        return {**DEFAULT_WEIGHTS, **value}

    @field_validator("disabled_sources")
    @classmethod
    def _known_sources(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(value) - set(SOURCES):
            raise ValueError(f"there is no source {min(unknown)!r}; there are {', '.join(SOURCES)}")
        return value

    drift_burn_in: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        2000, description="Tests that the drift detectors leave out at the start, while the model learns the shop."
    )
    seed: int = Field(0, description="Seed of everything random in the model.")
    visitor_salt: str = Field(
        "corrente", repr=False, description="Salt of the hash under which visitors are kept. Set your own."
    )
