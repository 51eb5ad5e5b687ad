"""The default model as a learner that can be evaluated, in one shard.

This file decides how the outcomes of the compiled replay reach the models of River (challenger, conversion, ratings),
and under which name each ranking is reported. The loop over events is in `stream.evaluation.replay.replay_kernel`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import Action
from stream.evaluation.replay.event_batch import NO_EVENTS
from stream.evaluation.replay.learner import SpanOutcomes
from stream.evaluation.replay.replay_kernel import new_buffers, replay_events
from stream.models.batch import EventBatch
from stream.models.event_codes import CLICK, PURCHASE
from stream.models.kernels.compile import packed
from stream.models.learning import learner as model
from stream.models.ranking.rank import Options
from stream.models.schema import CHALLENGER, CHAMPION
from stream.models.settings import ModelSettings
from stream.models.source_names import SOURCES
from stream.models.workspace.scoring_view import views_of
from stream.state.tables import Tables


class ModelLearner:
    """One shard of the default model over a history.

    Args:
        batch: every event of the history.
        codes: (n,) item code of each event.
        settings: settings of the model.
        options: decides what may be ranked.
        rated: (r,) numbers of the events that the ratings model learns from, rising; none by default.
        tables: filled tables to go on from; empty ones by default.
    """

    names = (*SOURCES, "blend", "challenger")
    challengers = ("challenger",)

    def __init__(
        self,
        batch: EventBatch,
        codes: NDArray[np.int32],
        settings: ModelSettings,
        options: Options,
        *,
        rated: NDArray[np.int64] = NO_EVENTS,
        tables: Tables | None = None,
    ) -> None:
        self._batch, self._codes, self._options = packed(batch), codes, options
        self._learner = model.Learner(settings, tables, options)
        # The ranking that orders the list is reported as the blend, the other one as the challenger.
        self._leader = CHALLENGER if settings.ranker == "river" else CHAMPION
        self._order = [*range(len(SOURCES)), self._leader, CHAMPION + CHALLENGER - self._leader]
        self._purchases_follow = bool(np.isin((CLICK, PURCHASE), batch.kinds).all())
        self._rated = rated
        self._code_of_row = np.full(len(self._learner.state.items), -1, np.int32)
        if tables is not None:
            self._code_of_row = _codes_of(self._learner.state.items["key0"], batch.items[:, 0], codes)

    def model_metrics(self) -> dict[str, Any]:
        """Prequential figures of the conversion and the ratings model, if the history has purchases or ratings."""
        figures = {}
        if self._purchases_follow:
            figures["conversion"] = self._learner.conversion.metrics()
        if self._rated.size:
            figures["ratings"] = self._learner.ratings.metrics()
        return figures

    def views(self) -> dict[str, tuple[NDArray, NDArray]]:
        """The live tables, in the form in which scoring reads them."""
        return views_of(self._learner.tables)

    def replay(
        self, start: int, stop: int, actions: NDArray[np.uint8], *, top: int, export: bool = False
    ) -> SpanOutcomes:
        """Follow the actions of events `start` to `stop`; see `stream.evaluation.replay.learner.Learner.replay`."""
        tests = int(np.count_nonzero(actions[start:stop] & Action.TEST))
        trained = int(np.count_nonzero(actions[start:stop] & Action.TRAIN_RANKER))
        found = new_buffers(tests, trained, top, leader=self._leader, export=export, conversion=self._purchases_follow)
        learner = self._learner
        replay_events(
            learner.state, learner.reader, learner.work, self._batch, self._codes, self._code_of_row, self._options,
            actions, start, stop, packed(found),
        )  # fmt: skip
        learner.challenger.learn(found.differences)
        if self._purchases_follow:
            learner.conversion.learn()
        rated = self._rated[slice(*np.searchsorted(self._rated, (start, stop)))]
        learner.learn_ratings(self._batch, rated[(actions[rated] & Action.LEARN) > 0])
        exported = found.filled[-1]
        return SpanOutcomes(
            event=found.event,
            greater=found.greater[:, self._order],
            equal=found.equal[:, self._order],
            found=found.found,
            candidates=found.candidates,
            fallback=found.fallback,
            top=found.top,
            offsets=found.filled if export else None,
            candidate=found.candidate[:exported] if export else None,
            scores=found.scores[:exported, self._order] if export else None,
        )


def _codes_of(keys: NDArray[np.uint64], known: NDArray[np.uint64], codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """The item code of each row, by the first half of its key; -1 for a row without one."""
    unique, first = np.unique(known, return_index=True)
    at = np.minimum(np.searchsorted(unique, keys), len(unique) - 1)
    return np.where(unique[at] == keys, codes[first[at]], -1).astype(np.int32)
