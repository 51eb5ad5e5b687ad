"""Several shards as one learner: each shard learns its own visitors, and their merged tables answer.

This file decides how sharding is imitated, so that its cost in hit rate can be measured. As in a running system, a
shard trains its ranker on what it alone knows, and answers come from the merge of all shards as of the last
publication; events since then become context of their visitor in the merged model and are not learned there.
Publications are rarer here (`MERGES` of them over a history) than in a worker, which makes several per second, so the
measured cost is an upper bound where items are fresh.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import Action, Plan, ranker_sample
from stream.evaluation.replay.learner import SpanOutcomes
from stream.evaluation.replay.model_learner import ModelLearner
from stream.models.batch import EventBatch
from stream.models.kernels.hashing import mixed
from stream.models.merging.merge import merged
from stream.models.ranking.rank import Options
from stream.models.settings import ModelSettings

MERGES = 100
"""Number of merges over a history."""
MIN_MERGE_ROOM = 4096
"""Free rows of a merged table for events until the next merge, at least."""


class ShardedLearner:
    """Several shards that learn, behind one merged model that answers.

    Args:
        batch: every event of the history.
        codes: (n,) item code of each event.
        settings: settings of each shard.
        options: decides what may be ranked.
        plan: which events are learned, and what the ranker may learn from.
        shards: number of shards.
    """

    names = ModelLearner.names
    challengers = ModelLearner.challengers

    def __init__(
        self,
        batch: EventBatch,
        codes: NDArray[np.int32],
        settings: ModelSettings,
        options: Options,
        plan: Plan,
        shards: int,
    ) -> None:
        self._codes, self._settings, self._options = codes, settings, options
        self._shards = [ModelLearner(batch, codes, settings, options) for _ in range(shards)]
        keys, which = np.unique(batch.visitors[:, 0], return_inverse=True)
        self._shard_of = np.array([int(mixed(key)) % shards for key in keys], np.int64)[which]
        # Each shard has a sample of its own, as each worker has a budget of its own.
        learned = (plan.actions & Action.LEARN) > 0
        self._trains_ranker = np.zeros(len(codes), bool)
        for number in range(shards):
            own = learned & (self._shard_of == number)
            self._trains_ranker |= ranker_sample(own, settings.seed) & plan.trainable
        self._unlearned = batch._replace(learned=np.zeros_like(batch.learned))
        self._merged_model: ModelLearner | None = None
        self._next_merge = 0

    def model_metrics(self) -> dict[str, Any]:
        """An empty dictionary: each shard has figures of its own, and they aren't merged."""
        return {}

    def replay(
        self, start: int, stop: int, actions: NDArray[np.uint8], *, top: int, export: bool = False
    ) -> SpanOutcomes:
        """Test on the merged tables, then let each shard learn its own visitors' events."""
        if not (actions[start:stop] & ~np.uint8(Action.TEST)).any():  # a test alone changes no table
            return self._merged(start).replay(start, stop, actions, top=top, export=export)
        shown = (actions & (Action.LEARN | Action.SHOW)) > 0
        answering = ((actions & Action.TEST) | np.where(shown, Action.SHOW, Action.NONE)).astype(np.uint8)
        outcomes = self._merged(start).replay(start, stop, answering, top=top, export=export)
        learning = actions & np.uint8(Action.LEARN | Action.SHOW | Action.COUNT)
        learning[start:stop] |= np.where(self._trains_ranker[start:stop], np.uint8(Action.TRAIN_RANKER), np.uint8(0))
        for number, shard in enumerate(self._shards):
            own = np.zeros_like(actions)
            own[start:stop] = np.where(self._shard_of[start:stop] == number, learning[start:stop], 0)
            shard.replay(start, stop, own, top=0)
        return outcomes

    def _merged(self, start: int) -> ModelLearner:
        """The merged model as of the last merge, made anew if one is due at event `start`."""
        if self._merged_model is None or start >= self._next_merge:
            events = len(self._codes)
            self._next_merge = start + max(1, events // MERGES)
            self._merged_model = None  # frees the old tables before the new ones are allocated
            views = {number: shard.views() for number, shard in enumerate(self._shards)}
            tables = merged(self._settings, views, room=MIN_MERGE_ROOM + events // MERGES, options=self._options)
            self._merged_model = ModelLearner(
                self._unlearned, self._codes, self._settings, self._options, tables=tables
            )
        return self._merged_model
