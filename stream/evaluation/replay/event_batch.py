"""The events of a history as the model takes them.

This file decides the keys, kinds and weights of a replayed event. They are those that the decoder of records
(`stream.ingest.decoding`) gives the same event, so a history from a file and the same events from Kafka leave the same
tables behind.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.protocol import Action, Plan, ranker_sample
from stream.evaluation.replay.history import History
from stream.ingest.files.dataset import Coded, Dataset
from stream.models.batch import ITEM_SALT, WEIGHT_MOST, EventBatch, session_salt
from stream.models.event_codes import AGGREGATE, KINDS, LEARN, OTHER_KIND
from stream.models.kernels.hashing import SEPARATOR, Keys, hash_ids, salt_key
from stream.models.schema import WEIGHT_ONE
from stream.models.settings import ModelSettings

NO_EVENTS = np.empty(0, np.int64)


def event_batch_of(history: History, settings: ModelSettings, plan: Plan) -> EventBatch:
    """Convert a whole history to one batch; row i is event i of the history.

    Args:
        history: the events.
        settings: the salt under which visitors and sessions are hashed.
        plan: weights, and which events are learned.
    """
    data = history.data
    names = [data.item.names[code].encode() for code in data.item.codes.tolist()]
    starts = np.zeros(len(names) + 1, np.int64)
    np.cumsum([len(name) + 1 for name in names], out=starts[1:])
    kind_codes = np.array([KINDS.get(name, OTHER_KIND) for name in data.event.names], np.uint8)
    weights = np.clip(plan.weights.astype(np.float64), -WEIGHT_MOST, WEIGHT_MOST)
    users, sessions = _who(data, settings)
    learned = np.where(plan.actions & Action.COUNT, AGGREGATE, (plan.actions & Action.LEARN) > 0).astype(np.uint8)
    return EventBatch(
        items=hash_ids(data.item.names, salt_key(ITEM_SALT))[data.item.codes],
        visitors=users,
        sessions=sessions,
        event_ids=np.zeros(len(data), np.uint64),
        seconds=data.seconds,
        weights=np.rint(weights * WEIGHT_ONE).astype(np.int16),
        kinds=kind_codes[data.event.codes],
        values=history.ratings,
        learned=learned,
        tested=np.zeros(len(data), np.uint8),
        names=np.frombuffer(SEPARATOR.encode().join(names), np.uint8),
        starts=starts,
    )


def ratings_sample(batch: EventBatch, seed: int) -> NDArray[np.int64]:
    """Numbers of the events that the ratings model learns from, rising: the ratings in the ranker's sample.

    Empty if all ratings have the same value, because they say nothing about taste then.
    """
    rated = np.isfinite(batch.values) & (batch.learned == LEARN)
    if len(np.unique(batch.values[rated])) < 2:
        return NO_EVENTS
    return np.flatnonzero(rated & ranker_sample(batch.learned == LEARN, seed))


def _who(data: Dataset, settings: ModelSettings) -> tuple[Keys, Keys]:
    """Keys of visitors and of sessions: one that a row doesn't name is the other's.

    Every row names a user or a session (`stream.evaluation.replay.history` checks).
    """
    visitors = None if data.user is None else _keys(data.user, salt_key(settings.visitor_salt))
    sessions = None if data.session is None else _keys(data.session, session_salt(settings.visitor_salt))
    if visitors is None or sessions is None:
        keys = sessions if visitors is None else visitors
        assert keys is not None
        return keys, keys
    assert data.user is not None
    assert data.session is not None
    without_user, without_session = data.user.codes < 0, data.session.codes < 0
    return (
        np.where(without_user[:, None], sessions, visitors),
        np.where(without_session[:, None], visitors, sessions),
    )


def _keys(column: Coded, salt: Keys) -> Keys:
    """(n, 2) keys of a column; those of empty cells mean nothing."""
    return hash_ids(column.names, salt)[column.codes]
