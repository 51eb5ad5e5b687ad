"""Checkpoints folded into one, as a worker sends them that could not publish for a while."""

from __future__ import annotations

from stream.state.checkpoint import Checkpoint
from stream.state.journal import concatenate
from stream.state.tables import fold


def folded(older: Checkpoint, newer: Checkpoint) -> Checkpoint:
    """One checkpoint with the effect of publishing `older` and then `newer`."""
    journal = concatenate([older.journal, newer.journal])
    return Checkpoint(fold(older.delta, newer.delta), newer.state, journal)
