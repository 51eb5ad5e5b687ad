"""The interface between the replay of a history and whatever is evaluated.

This file decides what a learner must offer (`Learner`) and what it returns for a span of events (`SpanOutcomes`). It
imports no model, so the replay and every learner can depend on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class SpanOutcomes(NamedTuple):
    """The tests of one span of events.

    Attributes:
        event: int64[t], numbers of the tested events.
        greater: int32[t, names], candidates that score more than the target, by `Learner.names`.
        equal: int32[t, names], other candidates that score the same.
        found: bool[t], True if the target was a candidate.
        candidates: int32[t], number of candidates.
        fallback: uint8[t], index into `stream.evaluation.measures.result.FALLBACKS`.
        top: int32[t, top], the blend's list as item codes; -1 pads.
        offsets, candidate, scores: filled only with `export`. Test i ranked `candidate[offsets[i]:offsets[i + 1]]`
            (item codes) by `scores[offsets[i]:offsets[i + 1], names]`.
    """

    event: NDArray[np.int64]
    greater: NDArray[np.int32]
    equal: NDArray[np.int32]
    found: NDArray[np.bool_]
    candidates: NDArray[np.int32]
    fallback: NDArray[np.uint8]
    top: NDArray[np.int32]
    offsets: NDArray[np.int64] | None = None
    candidate: NDArray[np.int32] | None = None
    scores: NDArray[np.float32] | None = None


class Learner(Protocol):
    """Anything that can be evaluated: it ranks, learns, and keeps its state from one span to the next."""

    @property
    def names(self) -> Sequence[str]:
        """Names of everything that ranks: sources, "blend", challengers."""

    @property
    def challengers(self) -> Sequence[str]:
        """Those of the names that are neither sources nor the blend."""

    def model_metrics(self) -> dict[str, Any]:
        """Prequential figures of models that order no list; empty if there are none."""

    def replay(
        self, start: int, stop: int, actions: NDArray[np.uint8], *, top: int, export: bool = False
    ) -> SpanOutcomes:
        """Follow the `Action` bits of events `start` to `stop`, and return the outcomes of the tests.

        Args:
            start: number of the first event.
            stop: number of the event after the last.
            actions: (events,) bits for the whole history, not only for the span.
            top: length of the lists to return.
            export: also return every candidate and its scores.
        """
