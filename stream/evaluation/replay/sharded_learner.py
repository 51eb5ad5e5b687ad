"""What sharding costs: several shards learn, each its own visitors, and their merged tables answer.

As in a running system, a shard tests and teaches its ranker on what it alone knows, and answers come from the merge of
all shards as of the last publication; what a visitor did since then is shown to the merged model, unlearned.
Publications are rarer here (`MERGES` of them over a history) than the several a second of a worker, so the cost that
this finds is an upper bound where items are fresh.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import Action, Plan, ranker_sample
from stream.evaluation.replay.model_learner import ModelLearner
from stream.evaluation.replay.run import Walk
from stream.models.batch import EventBatch
from stream.models.kernels.hashing import mixed
from stream.models.merging.merge import merged
from stream.models.ranking.rank import Options
from stream.models.settings import ModelSettings

MERGES = 100
ROOM = 4096


class ShardedLearner:
    """Shards behind one answer.

    Args:
        columns: every event as the model takes it.
        codes: (n,) item code of each event.
        settings: what each shard is.
        options: what may be ranked.
        plan: what is learned and what the ranker may learn from.
        shards: how many.
    """

    names = ModelLearner.names
    challengers = ModelLearner.challengers

    def __init__(
        self,
        columns: EventBatch,
        codes: NDArray[np.int32],
        settings: ModelSettings,
        options: Options,
        plan: Plan,
        shards: int,
    ) -> None:
        self._columns, self._codes, self._settings, self._options = columns, codes, settings, options
        self._shards = [ModelLearner(columns, codes, settings, options) for _ in range(shards)]
        keys, which = np.unique(columns.visitors[:, 0], return_inverse=True)
        self._shard_of = np.array([int(mixed(key)) % shards for key in keys], np.int64)[which]
        # Each shard has a sample of its own, as each worker has a budget of its own.
        learned = (plan.actions & Action.LEARN) > 0
        self._taught = np.zeros(len(codes), bool)
        for number in range(shards):
            self._taught |= ranker_sample(learned & (self._shard_of == number), settings.seed) & plan.teachable
        self._shown = columns._replace(learned=np.zeros_like(columns.learned))
        self._answers: ModelLearner | None = None
        self._next_merge = 0

    def beside(self) -> dict[str, Any]:
        """Nothing: each shard has its own."""
        return {}

    def walk(self, start: int, stop: int, actions: NDArray[np.uint8], *, top: int, export: bool = False) -> Walk:
        """Answer from the merged tables, then let each shard learn its own."""
        if not (actions[start:stop] & ~np.uint8(Action.TEST)).any():  # a test alone moves nothing
            return self._merged(start).walk(start, stop, actions, top=top, export=export)
        shown = (actions & (Action.LEARN | Action.SHOW)) > 0
        answering = ((actions & Action.TEST) | np.where(shown, Action.SHOW, Action.NONE)).astype(np.uint8)
        walk = self._merged(start).walk(start, stop, answering, top=top, export=export)
        learning = actions & np.uint8(Action.LEARN | Action.SHOW)
        learning[start:stop] |= np.where(self._taught[start:stop], np.uint8(Action.TEACH), np.uint8(0))
        for number, shard in enumerate(self._shards):
            own = np.where(self._shard_of[start:stop] == number, learning[start:stop], 0).astype(np.uint8)
            mine = np.zeros_like(actions)
            mine[start:stop] = own
            shard.walk(start, stop, mine, top=0)
        return walk

    def _merged(self, start: int) -> ModelLearner:
        if self._answers is None or start >= self._next_merge:
            events = len(self._codes)
            self._next_merge = start + max(1, events // MERGES)
            self._answers = None  # its tables' memory is what the new ones need
            views = {number: shard.views() for number, shard in enumerate(self._shards)}
            tables = merged(self._settings, views, room=ROOM + events // MERGES, options=self._options)
            self._answers = ModelLearner(self._shown, self._codes, self._settings, self._options, tables=tables)
        return self._answers
