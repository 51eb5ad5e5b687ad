"""The settings that can be tuned, read off `ModelSettings`.

This file decides which settings a search may change: every number between two bounds, except capacities, and the
weights of the kinds of events that occur. A new setting with bounds is tuned without an edit here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream.models.settings import ModelSettings

NOT_TUNED = frozenset(
    {
        "max_items",
        "max_visitors",
        "max_sessions",
        "max_event_ids",
        "max_kept_visitors",
        "max_kept_items",
        "drift_burn_in",
        "seed",
        "quantity_exponent",
    }
)
"""Numbers between bounds that follow from how much there is to remember or to watch, not from the quality of lists; and
one that says nothing about most histories, which have no quantities."""
MAX_WEIGHT = 6.0


@dataclass(frozen=True)
class TunableSetting:
    """One number that a search may change.

    Attributes:
        name: the setting.
        low, high: its bounds, both included.
        whole: True for integers.
        kind: the key of `weights` that is meant, for a weight.
    """

    name: str
    low: float
    high: float
    whole: bool = False
    kind: str | None = None

    @property
    def label(self) -> str:
        """Unique name among the tunable settings: `weights.click` for a weight."""
        return f"{self.name}.{self.kind}" if self.kind else self.name

    def value_in(self, settings: ModelSettings) -> float:
        """The value that these settings have, cut to the bounds."""
        value = settings.weights.get(self.kind, 1.0) if self.kind else getattr(settings, self.name)
        return float(min(max(value, self.low), self.high))


def tunable_settings(settings: type[ModelSettings], kinds: Sequence[str]) -> list[TunableSetting]:
    """Every number between two bounds, and the weight of each kind if more than one kind occurs.

    Args:
        settings: the class whose fields are looked through.
        kinds: the kinds of events that occur.
    """
    found = []
    for name, field in settings.model_fields.items():
        low = next((bound.ge for bound in field.metadata if hasattr(bound, "ge")), None)
        high = next((bound.le for bound in field.metadata if hasattr(bound, "le")), None)
        if name not in NOT_TUNED and field.annotation in (int, float) and low is not None and high is not None:
            found.append(TunableSetting(name, float(low), float(high), whole=field.annotation is int))
    if len(kinds) > 1:
        found += [TunableSetting("weights", -MAX_WEIGHT, MAX_WEIGHT, kind=kind) for kind in sorted(kinds)]
    return found


def with_values(base: ModelSettings, tunables: Sequence[TunableSetting], values: Mapping[str, float]) -> ModelSettings:
    """Return `base` with new values for some settings.

    Args:
        base: all other settings.
        tunables: the settings to change.
        values: their new values, by `TunableSetting.label`.
    """
    changes: dict[str, Any] = {}
    for tunable in tunables:
        value = values[tunable.label]
        if tunable.kind:
            changes.setdefault("weights", dict(base.weights))[tunable.kind] = round(float(value), 3)
        else:
            changes[tunable.name] = int(value) if tunable.whole else float(value)
    return ModelSettings.model_validate({**base.model_dump(), **changes})


def differing(ours: ModelSettings, default: ModelSettings) -> dict[str, Any]:
    """Settings whose value differs from the default's, by name, as JSON values."""
    our_values, default_values = ours.model_dump(mode="json"), default.model_dump(mode="json")
    return {name: value for name, value in our_values.items() if value != default_values[name]}
