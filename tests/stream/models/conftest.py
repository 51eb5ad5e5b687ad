"""Fixtures of the model's tests: events by name, and the values and features that a list is made from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pytest

from stream.models.batch import ITEM_SALT, EventBatch, session_salt
from stream.models.kernels.hashing import SEPARATOR, hash_ids, hash_joined, salt_key
from stream.models.learning.learner import Learner
from stream.models.model import Model
from stream.models.ranking.own_events import gather
from stream.models.ranking.rank import options_of, rank
from stream.models.schema import WEIGHT_ONE
from stream.models.settings import ModelSettings
from stream.models.source_names import SOURCES
from stream.models.workspace.scoring_view import views_of
from stream.models.workspace.scratch import CANDIDATE


class Happened(NamedTuple):
    """One event."""

    user: str
    item: str
    seconds: float
    session: str | None = None
    weight: float = 1.0
    learned: bool = True
    tested: int = 0


def columns_of(settings: ModelSettings, events: Iterable[Happened]) -> EventBatch:
    listed = list(events)

    def hashed(ids: list[str], salt: str) -> tuple:
        joined = np.frombuffer(SEPARATOR.join(ids).encode(), np.uint8)
        return (*hash_joined(joined, len(ids), salt_key(salt)), joined)

    items, starts, names = hashed([event.item for event in listed], ITEM_SALT)
    return EventBatch(
        items=items,
        visitors=hashed([event.user for event in listed], settings.visitor_salt)[0],
        sessions=np.where(
            [[event.session is not None] for event in listed],
            hash_ids([event.session or event.user for event in listed], session_salt(settings.visitor_salt)),
            hashed([event.user for event in listed], settings.visitor_salt)[0],
        ),
        event_ids=np.zeros(len(listed), np.uint64),
        seconds=np.array([event.seconds for event in listed], np.float64),
        weights=np.array([event.weight * WEIGHT_ONE for event in listed], np.int16),
        kinds=np.ones(len(listed), np.uint8),
        values=np.full(len(listed), np.nan, np.float32),
        learned=np.array([event.learned for event in listed], np.uint8),
        tested=np.array([event.tested for event in listed], np.uint8),
        names=names,
        starts=starts,
    )


class Said(NamedTuple):
    """Numbers that a visitor's list is made from.

    Attributes:
        values: value by item, by source.
        features: features by item, in the order of `CANDIDATE_FEATURE_NAMES`.
        context: features of the list, in the order of `CONTEXT_FEATURE_NAMES`.
        buckets: bucket of each cross.
    """

    values: dict[str, dict[str, float]]
    features: dict[str, np.ndarray]
    context: np.ndarray
    buckets: np.ndarray


class Shop:
    """A learner that takes events by name.

    The stream clock has always reached their times, as it would have if further visitors had been about.
    """

    def __init__(self, **settings: object) -> None:
        sizes: dict = {"max_items": 200, "max_visitors": 400, "max_sessions": 400, "max_event_ids": 64}
        self.settings = ModelSettings(**(sizes | settings))
        self.learner = Learner(self.settings)

    def learn(self, events: Iterable[Happened]) -> None:
        columns = columns_of(self.settings, events)
        clock = self.learner.tables["clock"].data[0]
        clock["seconds"] = clock["latest_seconds"] = max(clock["seconds"], columns.seconds.max())
        clock["confirmed"] = 1
        self.learner.learn(columns)

    def answers(self) -> Model:
        return Model(self.settings, views_of(self.learner.tables))

    def say(self, user: str, now: float, session: str | None = None) -> Said:
        model, reader, work = self.answers(), self.learner.reader, self.learner.work
        keys = columns_of(self.settings, [Happened(user, "x", 0.0, session)])
        visitor = model.hints["visitors"].find(*model.views["visitors"], keys.visitors[0])
        row = model.hints["sessions"].find(*model.views["sessions"], keys.sessions[0])
        gather(reader, work, visitor, 0, row, work.no_items, now)
        rank(reader, work, options_of(self.settings), np.uint64(0))
        count = int(work.counts[CANDIDATE])
        names = model.names(work.items[work.candidates[:count]])
        return Said(
            {
                source: dict(zip(names, work.source_values[number, :count].tolist(), strict=True))
                for number, source in enumerate(SOURCES)
            },
            {name: work.features_by_candidate[place].copy() for place, name in enumerate(names)},
            work.context_features.copy(),
            work.buckets.copy(),
        )


@pytest.fixture
def model() -> Callable[..., Shop]:
    return Shop


@pytest.fixture
def happened() -> type[Happened]:
    return Happened
