"""The whole model behind River's interface for recommenders: `learn_one`, `predict_one`, `rank`.

For River's users and its tools, and for a few lines in a shell: a `reco.Ranker` whose state is the tables of a version
and nothing else. An event is tested before it is learned, as everywhere, so the compiled ranker, the challenger and the
figures of `metrics` come along. Unlike with River's own recommenders, predicting changes nothing: an unknown user or
item is not remembered.

One event at a time costs some 200 µs, nearly all of it Python around the kernels. `learn_many` takes any number at
once; the only difference is that River's models, the challenger among them, learn when the batch is over. Whole files
and topics take other ways (`stream.evaluation`, `stream.shard.shard`).

This file decides how users, items, rewards and contexts of River become events, and how unknown items are ordered.

Montiel et al., "River: machine learning for streaming data in Python", JMLR 2021; https://riverml.xyz (`reco`).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river.reco.base import Ranker

from stream.events import check_id
from stream.models.batch import ITEM_SALT, WEIGHT_MOST, EventBatch, session_salt
from stream.models.event_codes import KINDS, OTHER_KIND
from stream.models.kernels.hash_index import find
from stream.models.kernels.hashing import SEPARATOR, Keys, hash_ids, salt_key
from stream.models.learning.event_loop import TEST, UPDATE
from stream.models.learning.learner import Learner
from stream.models.ranking.own_events import gather
from stream.models.ranking.rank import options_of, order_these
from stream.models.schema import CLOCK, WEIGHT_ONE, table_specs
from stream.models.settings import ModelSettings
from stream.models.workspace.scratch import CANDIDATE
from stream.state.tables import Tables
from stream.values import seconds_of

SMALL = ModelSettings(max_items=10_000, max_visitors=50_000, max_sessions=50_000, max_event_ids=64)
"""Capacities for a shell or a notebook; rows cost memory when they are written."""

UNKNOWN = -1e30
"""Score of an unknown item: below every known one, above those that the user turned down."""

Happened = tuple[Hashable, Hashable, float, Mapping[str, Any] | None]
"""User, item, reward and context, as `learn_one` takes them."""


class BlendRanker(Ranker):
    """The champion, named blend, as a River recommender.

    The context `x` may have `timestamp` (seconds or RFC 3339; by default, a second after the last event), `session` and
    `kind` (an event's kind, whose weight is in the settings; by default, a click).

    >>> model = BlendRanker()
    >>> for user in ("ada", "bob", "eve"):
    ...     for item in ("teapot", "cups", "tea"):
    ...         model.learn_one(user, item, y=True)
    >>> model.learn_one("you", "teapot", y=True)
    >>> model.rank("you", {"spade", "cups", "tea"})
    ['cups', 'tea', 'spade']
    >>> model.predict_one("you", "cups") > model.predict_one("you", "tea") > model.predict_one("you", "spade")
    True

    Args:
        settings: settings of the model; `SMALL` by default.
        seed: seed of everything random; that of the settings by default.
    """

    def __init__(self, settings: ModelSettings | None = None, seed: int | None = None) -> None:
        super().__init__(seed)
        self.settings = settings
        chosen = settings or SMALL
        self._begin(chosen if seed is None else chosen.model_copy(update={"seed": seed}))

    def _begin(self, settings: ModelSettings, tables: Tables | None = None) -> None:
        self._chosen = settings
        self._learner = Learner(settings, tables)
        self._options = options_of(settings)
        self._visitor_salt, self._item_salt = salt_key(settings.visitor_salt), salt_key(ITEM_SALT)
        self._session_salt = session_salt(settings.visitor_salt)

    @property
    def is_contextual(self) -> bool:
        return True

    @property
    def tables(self) -> Tables:
        """The whole state, as a version holds it."""
        return self._learner.tables

    def metrics(self) -> dict[str, Any]:
        """Prequential figures of the last tests, by ranking, and of the models beside them."""
        return self._learner.metrics()

    def learn_one(self, user: Hashable, item: Hashable, y: float = True, x: Mapping[str, Any] | None = None) -> None:
        """Test, then learn one event.

        Args:
            user, item: anything whose text is an id.
            y: the reward: true, or the number of events of its kind that it counts as. A negative number takes weight
                back from the item. False or 0 means that the item was shown and not wanted: no count changes, and the
                item stays off this user's lists until the user comes back to it.
            x: the context.

        Raises:
            InvalidEvent: an id or the time cannot be that of an event.
        """
        self.learn_many([(user, item, y, x)])

    def learn_many(self, events: Iterable[Happened]) -> None:
        """Test and learn many events, in this order."""
        if listed := list(events):
            self._learner.learn(self._batch(listed))

    def predict_one(self, user: Hashable, item: Hashable, x: Mapping[str, Any] | None = None) -> float:
        """The champion's score; 0 for an item that was never learned, -inf for one that this user turned down.

        Scores compare within one user and one moment.
        """
        return self._scores(user, [item], x).get(str(item), 0.0)

    def rank(self, user: Hashable, items: Iterable[Hashable], x: Mapping[str, Any] | None = None) -> list[Hashable]:
        """The items, best first; after the known ones the unknown, then those that this user turned down."""
        listed = sorted(items, key=str)  # so that ties of a set, which has no order, have one
        scores = self._scores(user, listed, x)
        return sorted(listed, key=lambda item: -scores.get(str(item), UNKNOWN))

    def _scores(self, user: Hashable, items: list[Hashable], x: Mapping[str, Any] | None) -> dict[str, float]:
        """Score by item, for the items that are known; -inf for one that must not be ranked."""
        state, reader, work = self._learner.state, self._learner.reader, self._learner.work
        context = x or {}
        visitor_key = self._keys([user], self._visitor_salt)[0]
        visitor = find(state.visitor_cells, state.visitors, *visitor_key)
        session_key = visitor_key
        if context.get("session") is not None:
            session_key = self._keys([context["session"]], self._session_salt)[0]
        session = find(state.session_cells, state.sessions, *session_key)
        anonymous = find(state.visitor_cells, state.visitors, *session_key)
        now = seconds_of(context["timestamp"]) if "timestamp" in context else float(state.scalars[CLOCK])
        rows = {
            find(state.item_cells, state.items, *key): str(item)
            for item, key in zip(items, self._keys(items, self._item_salt), strict=True)
        }
        rows.pop(0, None)
        gather(reader, work, visitor, anonymous, session, work.no_items, max(1.0, now))
        order_these(reader, work, self._options, np.array(list(rows), np.int64), work.all_items)
        count = int(work.counts[CANDIDATE])
        ranked = work.items[work.candidates[:count]].tolist()
        scores = dict.fromkeys(rows.values(), -np.inf)
        return scores | dict(zip((rows[row] for row in ranked), work.scores[:count].tolist(), strict=True))

    def _keys(self, ids: list[Hashable], salt: Keys) -> Keys:
        texts = [str(identifier) for identifier in ids]
        for text in texts:
            check_id("id", text)
        return hash_ids(texts, salt)

    def _batch(self, events: list[Happened]) -> EventBatch:
        count, clock = len(events), float(self._learner.state.scalars[CLOCK])
        contexts = [event[3] or {} for event in events]
        seconds = np.empty(count)
        for place, context in enumerate(contexts):
            clock = seconds_of(context["timestamp"]) if "timestamp" in context else clock + 1.0
            seconds[place] = clock
        kinds = [context.get("kind", "click") for context in contexts]
        by_kind = self._chosen.weights
        rewards = np.array([float(event[2]) for event in events])
        weights = np.where(rewards == 0, -1.0, rewards * [by_kind.get(kind, 1.0) for kind in kinds])
        visitors = self._keys([event[0] for event in events], self._visitor_salt)
        sessions = visitors.copy()
        for place, context in enumerate(contexts):
            if context.get("session") is not None:
                sessions[place] = self._keys([context["session"]], self._session_salt)[0]
        names = [str(event[1]).encode() for event in events]
        starts: NDArray[np.int64] = np.cumsum([0, *(len(name) + 1 for name in names)])
        bounded = np.clip(weights, -WEIGHT_MOST, WEIGHT_MOST)
        return EventBatch(
            items=self._keys([event[1] for event in events], self._item_salt),
            visitors=visitors,
            sessions=sessions,
            event_ids=np.zeros(count, np.uint64),
            seconds=seconds,
            weights=np.rint(bounded * WEIGHT_ONE).astype(np.int16),
            kinds=np.array([KINDS.get(kind, OTHER_KIND) for kind in kinds], np.uint8),
            values=np.full(count, np.nan, np.float32),
            learned=(rewards != 0).astype(np.uint8),
            tested=np.full(count, TEST | UPDATE, np.uint8),
            names=np.frombuffer(SEPARATOR.encode().join(names), np.uint8),
            starts=starts.astype(np.int64),
        )

    def __getstate__(self) -> dict[str, Any]:
        """Parameters and tables, from which a copy goes on exactly as this one."""
        return {"settings": self.settings, "seed": self.seed, "chosen": self._chosen, "tables": self.tables.snapshot()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__init__(state["seed"])
        self.settings = state["settings"]
        tables = Tables(table_specs(state["chosen"]))
        tables.write(state["tables"])
        self._begin(state["chosen"], tables)
