"""Checkpoints: the blocks that a shard wrote, its readable state, and the journal of its batches.

A worker that can't publish keeps its checkpoint and sends it again; learning goes on, and later writes go into the next
one. This file decides what a checkpoint contains.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from stream.state.journal import Journal
from stream.state.tables import Delta


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a version holds of one shard.

    Attributes:
        delta: blocks written since the previous checkpoint (for a snapshot, all that are not zero).
        state: the small, readable part, JSON-able: `format`, `names` of what the places in the tables stand for,
            `layout` of the tables, `offsets` {key of a log: next offset}, `logs`, `counters`, `clock`, `metrics`,
            `drift`.
        journal: batches applied since the previous checkpoint.
        whole: True if `delta` has every block that is not zero, so that it is a keyframe as well.
        reshaped: True if the tables have other shapes than those of the previous checkpoint, so that `delta`, which is
            whole then, doesn't lead from it.
    """

    delta: Delta
    state: dict[str, Any]
    journal: Journal = field(default_factory=Journal)
    whole: bool = False
    reshaped: bool = False
