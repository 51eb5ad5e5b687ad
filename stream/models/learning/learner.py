"""Learner: the tables of one model, and everything that learns from a batch of events.

This file decides what a batch teaches: first the tables, in the compiled loop of `event_loop`, then the models of
River, which learn from the outcomes of the loop. What is learned here depends on the batch, so a journal keeps batches.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.batch import EventBatch
from stream.models.drift.detectors import Detectors
from stream.models.drift.prequential import Prequential
from stream.models.entities import sessions, visitors
from stream.models.event_codes import LEARN, RATING
from stream.models.feature_names import FEATURES
from stream.models.had import kept
from stream.models.kernels.compile import packed
from stream.models.kernels.hash_index import find
from stream.models.kernels.hashing import Keys
from stream.models.learning import stream_clock
from stream.models.learning.event_loop import Outcomes, learn_batch
from stream.models.outcomes.conversion import Conversion
from stream.models.outcomes.ratings import Ratings
from stream.models.ranking import ranker
from stream.models.ranking.challenger import Challenger
from stream.models.ranking.rank import Options, options_of
from stream.models.schema import (
    CONVERSION_FEATURES,
    ITEMS_EVICTED,
    ITEMS_LIVE,
    RANDOM,
    RANKINGS,
    SESSION_KEYS,
    SESSIONS_BEGUN,
    STARTED,
    VISITORS_EVICTED,
    VISITORS_LIVE,
    table_specs,
)
from stream.models.settings import ModelSettings
from stream.models.workspace.learning_view import state_of
from stream.models.workspace.scoring_view import reader_of, views_of
from stream.models.workspace.scratch import new_work
from stream.state.tables import Tables


class Learner:
    """The tables of one model, the compiled loop that writes them, and the models of River beside it.

    Args:
        settings: of the model.
        tables: filled tables to continue from (a restored version); empty ones if not given.
        options: what may be ranked in tests; by default what the settings say.
    """

    def __init__(self, settings: ModelSettings, tables: Tables | None = None, options: Options | None = None) -> None:
        self.settings = settings
        self.options = options or options_of(settings)
        self.tables = Tables(table_specs(settings)) if tables is None else tables
        self.state = state_of(self.tables)
        self.reader = reader_of(views_of(self.tables))
        self.work = new_work()
        if self.state.scalars[STARTED] == 0:
            seed = hashlib.blake2b(str(settings.seed).encode(), digest_size=6).digest()
            self.state.scalars[RANDOM] = int.from_bytes(seed, "little")
            ranker.begin(self.state)
            self.state.scalars[SESSION_KEYS] = 1
        self.challenger = Challenger(self.tables["challenger"])
        self.prequential = Prequential(self.tables)
        self.detectors = Detectors(self.tables, self.prequential, settings.drift_burn_in)
        self.conversion = Conversion(self.tables)
        self.ratings = Ratings(self.tables)

    def learn(self, batch: EventBatch) -> Outcomes:
        """Test and learn these events in order. The models of River learn only if any of the events is tested."""
        outcomes = self.walk(batch)
        if batch.tested.any():
            self.challenger.learn(outcomes.differences)
            self.detectors.begin()
            self.prequential.add(outcomes.greater, outcomes.equal)
            self.detectors.update()
            self.conversion.learn()
            self.learn_ratings(batch, np.flatnonzero((batch.tested != 0) & (batch.kinds == RATING)))
        return outcomes

    def walk(self, batch: EventBatch) -> Outcomes:
        """Run the compiled part of `learn` alone, without the models of River."""
        self.state.scalars[SESSION_KEYS] = 1  # in a state of an older program, sessions have other keys until now
        tests = int(np.count_nonzero(batch.tested))
        outcomes = Outcomes(
            learned=np.zeros(batch.seconds.size, np.uint8),
            events=np.zeros(tests, np.int64),
            greater=np.zeros((tests, RANKINGS), np.float32),
            equal=np.zeros((tests, RANKINGS), np.float32),
            candidates=np.zeros(tests, np.int32),
            differences=np.zeros((tests, FEATURES), np.float32),
            known=np.zeros(tests, np.int32),
            conversion_features=np.zeros((tests, CONVERSION_FEATURES), np.float32),
        )
        done = learn_batch(self.state, self.reader, self.work, packed(batch), self.options, packed(outcomes))
        return Outcomes._make([outcomes.learned, *(column[:done] for column in outcomes[1:])])

    def learn_ratings(self, batch: EventBatch, events: NDArray[np.int64]) -> None:
        """Teach River's ratings model those of the events that have a value and are learned.

        Call it after `walk`. A rating is skipped if its visitor or item was evicted by then.

        Args:
            batch: the events.
            events: numbers of events in the batch, rising.
        """
        for event in events[np.isfinite(batch.values[events]) & (batch.learned[events] == LEARN)].tolist():
            item, visitor = self.rows_of(batch, event)
            if item and visitor:
                self.ratings.learn(visitor, item, float(batch.values[event]))

    def rows_of(self, batch: EventBatch, event: int) -> tuple[int, int]:
        """Rows of an event's item and visitor; 0 for one that has none."""
        state = self.state
        item = find(state.item_cells, state.items, *batch.items[event])
        visitor = find(state.visitor_cells, state.visitors, *batch.visitors[event])
        return item, visitor

    def erase(self, visitors_and_sessions: Keys) -> int:
        """Empty the rows of these keys as visitors and as sessions; returns the number of rows that were emptied.

        What their events added to counts over all visitors stays, because it can't be traced to a person.

        Args:
            visitors_and_sessions: (n, 2) keys.
        """
        state, emptied = self.state, 0
        for key in visitors_and_sessions:
            stream_clock.forget(state, key[0])
            kept.erase(state, key[0])
            if visitor := find(state.visitor_cells, state.visitors, *key):
                visitors.erase(state, visitor)
                emptied += 1
            if session := find(state.session_cells, state.sessions, *key):
                sessions.erase(state, session)
                emptied += 1
        self.tables["scalars"].mark_rows([0])
        return emptied

    def rows(self) -> dict[str, dict[str, int]]:
        """Rows of items, visitors and sessions: how many are in use, how many there can be, and how many were evicted.

        A session that begins in a full table evicts the oldest one.
        """
        scalars = self.state.scalars
        most = {name: len(self.tables[name].data) - 1 for name in ("items", "visitors", "sessions")}
        begun = int(scalars[SESSIONS_BEGUN])
        live = {
            "items": int(scalars[ITEMS_LIVE]),
            "visitors": int(scalars[VISITORS_LIVE]),
            "sessions": min(begun, most["sessions"]),
        }
        evicted = {
            "items": int(scalars[ITEMS_EVICTED]),
            "visitors": int(scalars[VISITORS_EVICTED]),
            "sessions": begun - live["sessions"],
        }
        return {name: {"live": live[name], "most": most[name], "evicted": evicted[name]} for name in most}

    def metrics(self) -> dict[str, Any]:
        """Prequential figures of the rankings, of the conversion model and of the ratings model."""
        return self.prequential.metrics() | {
            "conversion": self.conversion.metrics(),
            "ratings": self.ratings.metrics(),
        }
