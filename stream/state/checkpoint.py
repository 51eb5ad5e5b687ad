"""What a shard hands over at a version: the blocks it wrote, its readable state, and the journal of its batches.

A cut that could not be published is not lost and not repeated: it is folded with the next one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stream.state.journal import Journal, concatenate
from stream.state.tables import Delta, fold


@dataclass(frozen=True)
class Checkpoint:
    """Everything a version holds of one shard.

    Attributes:
        delta: blocks written since the previous cut (all that are not zero, for a keyframe).
        state: what is small and readable, JSON-able: `offsets` {topic: next offset}, `counters`, `clock`, `metrics`,
            `drift`.
        journal: batches applied since the previous cut.
    """

    delta: Delta
    state: dict[str, Any]
    journal: Journal = field(default_factory=Journal)


def fold_cuts(older: Checkpoint, newer: Checkpoint) -> Checkpoint:
    """One cut that does what publishing `older` and then `newer` would have done."""
    return Checkpoint(fold(older.delta, newer.delta), newer.state, concatenate([older.journal, newer.journal]))
