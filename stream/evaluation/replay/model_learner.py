"""The model as a learner that can be evaluated: a history as the model's columns, and the compiled walk over them.

Keys, kinds and weights are what the decoder of records makes of the same events (`stream.ingest.decoding`), so that a history
from a file and the same events from Kafka leave the same tables behind.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import Action, Plan, Protocol, ranker_sample
from stream.evaluation.replay import replay_kernel as kernel
from stream.evaluation.replay.history import History
from stream.evaluation.replay.run import Learner, Walk
from stream.ingest.files import Coded
from stream.models.batch import CLICK, ITEM_SALT, KINDS, OTHER_KIND, PURCHASE, WEIGHT_MOST, EventBatch
from stream.models.kernels.compile import packed
from stream.models.kernels.hashing import SEPARATOR, Keys, hash_ids, salt_key
from stream.models.learning import learner as model
from stream.models.ranking.rank import Options, options_of
from stream.models.schema import BLEND, CHALLENGER, WEIGHT_ONE
from stream.models.settings import ModelSettings
from stream.models.source_names import SOURCES
from stream.state.tables import Tables

NO_EVENTS = np.empty(0, np.int64)


class ModelLearner:
    """One shard of the default model over a history.

    Args:
        columns: every event as the model takes it.
        codes: (n,) item code of each event.
        settings: what the model is.
        options: what may be ranked.
        rated: (r,) numbers of the events that the ratings model learns from, rising; none if not given.
        tables: filled tables to go on from; empty ones if none.
    """

    names = (*SOURCES, "blend", "challenger")
    challengers = ("challenger",)

    def __init__(
        self,
        columns: EventBatch,
        codes: NDArray[np.int32],
        settings: ModelSettings,
        options: Options,
        *,
        rated: NDArray[np.int64] = NO_EVENTS,
        tables: Tables | None = None,
    ) -> None:
        self._columns, self._codes, self._options = packed(columns), codes, options
        self._learner = model.Learner(settings, tables, options)
        # Whoever orders the list is called the blend; the other one is the challenger.
        self._leader = CHALLENGER if settings.ranker == "river" else BLEND
        self._order = [*range(len(SOURCES)), self._leader, BLEND + CHALLENGER - self._leader]
        self._purchases_follow = bool(np.isin((CLICK, PURCHASE), columns.kinds).all())
        self._rated = rated
        self._code_of_row = np.full(len(self._learner.state.items), -1, np.int32)
        if tables is not None:
            self._code_of_row = _codes_of(self._learner.state.items["key0"], columns.items[:, 0], codes)

    def beside(self) -> dict[str, Any]:
        """Prequential figures of the models that order no list, where the history has what they are about."""
        figures = {}
        if self._purchases_follow:
            figures["conversion"] = self._learner.conversion.metrics()
        if self._rated.size:
            figures["ratings"] = self._learner.ratings.metrics()
        return figures

    def views(self) -> dict[str, tuple[NDArray, NDArray]]:
        """The live tables, as scoring reads them."""
        return model.identity_views(self._learner.tables)

    def walk(self, start: int, stop: int, actions: NDArray[np.uint8], *, top: int, export: bool = False) -> Walk:
        """Follow the actions of some events."""
        tests = int(np.count_nonzero(actions[start:stop] & Action.TEST))
        taught = int(np.count_nonzero(actions[start:stop] & Action.TEACH))
        found = kernel.room(tests, taught, top, leader=self._leader, export=export, conversion=self._purchases_follow)
        learner = self._learner
        kernel.walk(
            learner.state, learner.reader, learner.work, self._columns, self._codes, self._code_of_row, self._options,
            actions, start, stop, packed(found),
        )  # fmt: skip
        learner.challenger.learn(found.differences)
        if self._purchases_follow:
            learner.conversion.learn()
        rated = self._rated[slice(*np.searchsorted(self._rated, (start, stop)))]
        learner.learn_ratings(self._columns, rated[(actions[rated] & Action.LEARN) > 0])
        exported = found.filled[-1]
        return Walk(
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


def model_learner(
    history: History, protocol: Protocol, settings: ModelSettings, plan: Plan, *, shards: int = 1
) -> Learner:
    """The model, as one shard or as several, ready to walk over a history from its start."""
    options = options_of(settings, exclude_last=protocol.exclude_last)._replace(by_session=protocol.by == "session")
    columns, codes = columns_of(history, protocol, settings, plan), history.data.item.codes
    if shards == 1:
        return ModelLearner(columns, codes, settings, options, rated=ratings_sample(columns, settings.seed))
    from stream.evaluation.replay.sharded_learner import ShardedLearner  # which is made of this file's learners

    return ShardedLearner(columns, codes, settings, options, plan, shards)


def ratings_sample(columns: EventBatch, seed: int) -> NDArray[np.int64]:
    """Which events the ratings model learns from: ratings in the ranker's sample; none if all say the same."""
    rated = np.isfinite(columns.values) & (columns.learned != 0)
    if len(np.unique(columns.values[rated])) < 2:
        return NO_EVENTS
    return np.flatnonzero(rated & ranker_sample(columns.learned != 0, seed))


def columns_of(history: History, protocol: Protocol, settings: ModelSettings, plan: Plan) -> EventBatch:
    """All events of a history as the model takes them."""
    data = history.data
    salt = salt_key(settings.visitor_salt)
    visitor = history.visitor(protocol.by)
    names = [data.item.names[code].encode() for code in data.item.codes.tolist()]
    starts = np.zeros(len(names) + 1, np.int64)
    np.cumsum([len(name) + 1 for name in names], out=starts[1:])
    kind_codes = np.array([KINDS.get(name, OTHER_KIND) for name in data.event.names], np.uint8)
    weights = np.clip(plan.weights.astype(np.float64), -WEIGHT_MOST, WEIGHT_MOST)
    own = _keys(visitor, salt)
    users = own if data.user is None else _keys(_filled(data.user, visitor), salt)
    sessions = own if data.session is None else _keys(_filled(data.session, visitor), salt)
    return EventBatch(
        items=hash_ids(data.item.names, salt_key(ITEM_SALT))[data.item.codes],
        visitors=users,
        sessions=sessions,
        event_ids=np.zeros(len(data), np.uint64),
        seconds=data.seconds,
        weights=np.rint(weights * WEIGHT_ONE).astype(np.int16),
        kinds=kind_codes[data.event.codes],
        values=history.ratings,
        learned=((plan.actions & Action.LEARN) > 0).astype(np.uint8),
        tested=np.zeros(len(data), np.uint8),
        names=np.frombuffer(SEPARATOR.encode().join(names), np.uint8),
        starts=starts,
    )


def _filled(column: Coded, visitor: Coded) -> Coded:
    """A column whose empty cells are taken from the visitor's, as an event without a session counts for its user."""
    if not (column.codes < 0).any():
        return column
    codes = np.where(column.codes >= 0, column.codes, visitor.codes + len(column.names)).astype(np.int32)
    return Coded(codes, column.names + visitor.names)


def _codes_of(keys: NDArray[np.uint64], known: NDArray[np.uint64], codes: NDArray[np.int32]) -> NDArray[np.int32]:
    """The item code of each row, by the first half of its key; -1 for a row without one."""
    unique, first = np.unique(known, return_index=True)
    at = np.minimum(np.searchsorted(unique, keys), len(unique) - 1)
    return np.where(unique[at] == keys, codes[first[at]], -1).astype(np.int32)


def _keys(column: Coded, salt: Keys) -> Keys:
    return hash_ids(column.names, salt)[column.codes]
