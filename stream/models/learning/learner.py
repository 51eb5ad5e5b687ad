"""Learning: one batch of events, in order, through everything that remembers.

For each event: skip it if its id was seen; test, if it was drawn for that, on what is known without it; find or make
the rows of item, visitor and session; then learn. All of it is one compiled loop. Nothing here knows about topics,
Kafka or versions.
"""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.batch import CLICK, PURCHASE, RATING, VIEW, EventBatch
from stream.models.drift.detectors import Detectors
from stream.models.drift.prequential import Prequential
from stream.models.entities import items, sessions, visitors
from stream.models.feature_names import FEATURES
from stream.models.kernels.compile import inlined, kernel, packed
from stream.models.kernels.hash_index import enter_word, find, find_word
from stream.models.kernels.hashing import Keys, mixed
from stream.models.kernels.row_pool import run_row, run_rows
from stream.models.learning import prefetch as ahead
from stream.models.outcomes import conversion
from stream.models.outcomes.conversion import Conversion
from stream.models.outcomes.ratings import Ratings
from stream.models.ranking import item_bias, ranker
from stream.models.ranking.challenger import Challenger
from stream.models.ranking.own_events import gather
from stream.models.ranking.rank import Options, options_of, rank
from stream.models.schema import (
    CHALLENGER,
    CHAMPION,
    CLOCK,
    CONVERSION_FEATURES,
    COUNT,
    EVENT_IDS_SEEN,
    EVENTS,
    FAST_LANDMARK,
    HISTORY_ENTRIES,
    POPULARITY_LANDMARK,
    RANDOM,
    RANKINGS,
    SEEN_WAYS,
    STARTED,
    TESTS,
    WEIGHT_ONE,
    table_specs,
)
from stream.models.settings import ModelSettings
from stream.models.source_names import SOURCE_COUNT
from stream.models.sources import custom, embedding, pairs, popularity
from stream.models.sources.pairs import MEETINGS
from stream.models.workspace.learning_view import State, state_of
from stream.models.workspace.scoring_view import Reader, reader_of, views_of
from stream.models.workspace.scratch import CANDIDATE, HISTORY, Work, new_work
from stream.models.workspace.visitor_context import was_seen
from stream.state.tables import Tables

LEARNED = 0
DUPLICATE = 1

TEST = 1
UPDATE = 2
"""Bits of `EventBatch.tested`: report the test; let the ranker learn from it."""

MISS = 1e9
"""What `greater` is for a target that was no candidate."""

EMBEDDING_EVERY = 4
"""Vectors learn from every so many events: each writes sixteen rows, which is most of what two versions differ by."""


class Outcomes(NamedTuple):
    """What became of a batch, and what its tests gave. Row t of the last five is the t-th test.

    Attributes:
        learned: (events,) uint8: `LEARNED` or `DUPLICATE`.
        events: (tests,) int64: which event was tested.
        greater, equal: (tests, rankings) float32: candidates with a larger and (the target left out) the same value, by
            source, then blend, then challenger; `MISS` if the target was no candidate.
        candidates: (tests,) int32: how many there were.
        differences: (tests, features) float32: features of the target minus those of another candidate; zeros for a
            miss.
        known: (tests,) int32: events in the visitor's history.
        situations: (tests, CONVERSION_FEATURES) float32: what the conversion model gets to know.
    """

    learned: NDArray[np.uint8]
    events: NDArray[np.int64]
    greater: NDArray[np.float32]
    equal: NDArray[np.float32]
    candidates: NDArray[np.int32]
    differences: NDArray[np.float32]
    known: NDArray[np.int32]
    situations: NDArray[np.float32]


class Learner:
    """The tables of one model, and what writes them.

    Args:
        settings: what the model is.
        tables: filled tables to go on from (a restored version); empty ones if none.
        options: what is ranked when it is tested; by default what the settings say.
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
        self.challenger = Challenger(self.tables["challenger"])
        self.prequential = Prequential(self.tables)
        self.detectors = Detectors(self.tables, self.prequential, settings.drift_burn_in)
        self.conversion = Conversion(self.tables)
        self.ratings = Ratings(self.tables)

    def learn(self, columns: EventBatch) -> Outcomes:
        """Test and learn these events in order. The models of River are touched only if any of them is tested."""
        outcomes = self.walk(columns)
        if columns.tested.any():
            self.challenger.learn(outcomes.differences)
            self.detectors.begin()
            self.prequential.add(outcomes.greater, outcomes.equal)
            self.detectors.update()
            self.conversion.learn()
            self.learn_ratings(columns, np.flatnonzero((columns.tested != 0) & (columns.kinds == RATING)))
        return outcomes

    def walk(self, columns: EventBatch) -> Outcomes:
        """The compiled part of `learn`, without the models of River."""
        tests = int(np.count_nonzero(columns.tested))
        outcomes = Outcomes(
            learned=np.zeros(columns.seconds.size, np.uint8),
            events=np.zeros(tests, np.int64),
            greater=np.zeros((tests, RANKINGS), np.float32),
            equal=np.zeros((tests, RANKINGS), np.float32),
            candidates=np.zeros(tests, np.int32),
            differences=np.zeros((tests, FEATURES), np.float32),
            known=np.zeros(tests, np.int32),
            situations=np.zeros((tests, CONVERSION_FEATURES), np.float32),
        )
        done = learn_batch(self.state, self.reader, self.work, packed(columns), self.options, packed(outcomes))
        return Outcomes(outcomes.learned, *(column[:done] for column in outcomes[1:]))

    def learn_ratings(self, columns: EventBatch, events: NDArray[np.int64]) -> None:
        """Those of the events that are ratings and learned, after they were learned otherwise.

        One whose rows were taken over in the meantime teaches their new owner.
        """
        state = self.state
        for event in events[np.isfinite(columns.values[events]) & (columns.learned[events] != 0)].tolist():
            item = find(state.item_cells, state.items, *columns.items[event])
            visitor = find(state.visitor_cells, state.visitors, *columns.visitors[event])
            if item and visitor:
                self.ratings.learn(visitor, item, float(columns.values[event]))

    def erase(self, visitors_and_sessions: Keys) -> int:
        """Forget these keys, (n, 2), as visitors and as sessions; returns how many rows that emptied.

        What they added to counts over all visitors stays: nobody can be told from it.
        """
        state, emptied = self.state, 0
        for key in visitors_and_sessions:
            if visitor := find(state.visitor_cells, state.visitors, *key):
                visitors.erase(state, visitor)
                emptied += 1
            if session := find(state.session_cells, state.sessions, *key):
                sessions.erase(state, session)
                emptied += 1
        self.tables["scalars"].mark_rows([0])
        return emptied

    def metrics(self) -> dict[str, Any]:
        """Prequential figures of the rankings, and of the models beside them."""
        return self.prequential.metrics() | {
            "conversion": self.conversion.metrics(),
            "ratings": self.ratings.metrics(),
        }


@kernel
def learn_batch(
    state: State, reader: Reader, work: Work, columns: EventBatch, options: Options, outcomes: Outcomes
) -> int:
    """Returns how many tests there were."""
    tests = 0
    state.scalars_dirty[:] = 1
    for event in range(columns.seconds.size):
        ahead.ask(state, columns, event)
        if columns.event_ids[event] and not note_event_id(state, columns.event_ids[event]):
            outcomes.learned[event] = DUPLICATE
            continue
        if columns.tested[event] and columns.weights[event] > 0:
            tested = test_event(state, reader, work, columns, event, options, outcomes, tests)
            if tested and (columns.kinds[event] == CLICK or columns.kinds[event] == VIEW):
                situation = outcomes.situations[tests]
                conversion.wait(
                    state, columns.visitors[event, 0], columns.items[event, 0], columns.seconds[event], situation
                )
            tests += tested
        if columns.kinds[event] == PURCHASE:
            conversion.note_purchase(state, columns.visitors[event, 0], columns.items[event, 0])
        learn_event(state, columns, event, options, work.met, work.vector)
    return tests


@kernel
def test_event(
    state: State,
    reader: Reader,
    work: Work,
    columns: EventBatch,
    event: int,
    options: Options,
    outcomes: Outcomes,
    test: int,
) -> int:
    """Rank before the event is known; returns 1 if it was a test to report."""
    item = find(state.item_cells, state.items, columns.items[event, 0], columns.items[event, 1])
    visitor = find(state.visitor_cells, state.visitors, columns.visitors[event, 0], columns.visitors[event, 1])
    session = find(state.session_cells, state.sessions, columns.sessions[event, 0], columns.sessions[event, 1])
    anonymous = find(state.visitor_cells, state.visitors, columns.sessions[event, 0], columns.sessions[event, 1])
    seen_by = remembered_by(columns, event, options)
    if options.only_first:
        if was_seen(reader, mixed(seen_by ^ mixed(columns.items[event, 0]))):
            return 0
    elif visitor == 0 and session == 0:
        return 0
    state.scalars[TESTS] += 1
    gather(reader, work, visitor, anonymous, session, work.no_items, max(1.0, columns.seconds[event]))
    rank(reader, work, options, seen_by)
    target = -1
    for number in range(work.counts[CANDIDATE]):
        if work.items[work.candidates[number]] == item:
            target = number
    if columns.tested[event] & TEST:
        outcomes.events[test] = event
        outcomes.candidates[test] = work.counts[CANDIDATE]
        outcomes.known[test] = work.counts[HISTORY]
        place_target(state, work, target, outcomes, test)
        rank_score = challenger_score = 0.0
        if target >= 0:
            rank_score = 4.0 / (4.0 + outcomes.greater[test, CHAMPION])
            challenger_score = 4.0 / (4.0 + outcomes.greater[test, CHALLENGER])
        conversion.describe(reader, work, item, rank_score, challenger_score, outcomes.situations[test])
    if columns.tested[event] & UPDATE and target >= 0:
        item_bias.learn(state, work, ranker.learn(state, work, target))
    return np.int64(columns.tested[event] & TEST)


@inlined
def remembered_by(columns: EventBatch, event: int, options: Options) -> np.uint64:
    """Key of the visitor (or session) whose remembered items are not ranked for this event; 0: repeats are allowed."""
    if not options.only_first:
        return np.uint64(0)
    return columns.sessions[event, 0] if options.by_session else columns.visitors[event, 0]


@kernel
def place_target(state: State, work: Work, target: int, outcomes: Outcomes, test: int) -> None:
    """Where the target stands in each ranking, and one pair for the challenger to learn from."""
    count = work.counts[CANDIDATE]
    if target < 0:
        outcomes.greater[test] = MISS
        return
    for source in range(SOURCE_COUNT):
        values = work.source_values[source]
        greater = 0
        equal = 0
        for number in range(count):
            greater += values[number] > values[target]
            equal += values[number] == values[target]
        outcomes.greater[test, source] = greater
        outcomes.equal[test, source] = equal - 1
    blend = challenger = same_blend = same_challenger = 0
    for number in range(count):
        blend += work.scores[number] > work.scores[target]
        same_blend += work.scores[number] == work.scores[target]
        challenger += work.challenger[number] > work.challenger[target]
        same_challenger += work.challenger[number] == work.challenger[target]
    outcomes.greater[test, CHAMPION] = blend
    outcomes.equal[test, CHAMPION] = same_blend - 1
    outcomes.greater[test, CHALLENGER] = challenger
    outcomes.equal[test, CHALLENGER] = same_challenger - 1
    contrast(state, work, target, outcomes.differences[test])


@kernel
def contrast(state: State, work: Work, target: int, differences: np.ndarray) -> None:
    """Features of what happened minus those of one other candidate, which the number of the test draws."""
    count = work.counts[CANDIDATE]
    if count > 1:
        draw = mixed(np.uint64(np.int64(state.scalars[TESTS])) ^ np.uint64(0x5851F42D4C957F2D))
        other = np.int64(draw % np.uint64(count - 1))
        other += other >= target
        for feature in range(FEATURES):
            differences[feature] = (
                work.features_by_candidate[target, feature] - work.features_by_candidate[other, feature]
            )


@kernel
def learn_event(
    state: State, columns: EventBatch, event: int, options: Options, met: np.ndarray, scratch: np.ndarray
) -> None:
    seconds = max(1.0, columns.seconds[event])
    if state.scalars[STARTED] == 0:
        state.scalars[STARTED] = 1
        state.scalars[POPULARITY_LANDMARK] = seconds
        state.scalars[FAST_LANDMARK] = seconds
    start = columns.starts[event]
    size = max(0, columns.starts[event + 1] - start - 1)
    item = items.find_or_add(
        state, columns.items[event, 0], columns.items[event, 1], columns.names, start, size, seconds
    )
    visitor = visitors.find_or_add(state, columns.visitors[event, 0], columns.visitors[event, 1], seconds)
    session = sessions.find_or_add(state, columns.sessions[event, 0], columns.sessions[event, 1])
    weight = columns.weights[event] / WEIGHT_ONE
    learned = columns.learned[event] != 0
    if options.only_first and learned:
        seen_by = remembered_by(columns, event, options)
        learned = note_seen(state, mixed(seen_by ^ mixed(columns.items[event, 0])))
    if learned:
        learn_counts(state, item, visitor, seconds, weight, met, scratch)
    if weight >= 0:
        sessions.learn(state, session, item, seconds, learned)
    visitors.remember(state, visitor, item, seconds, columns.weights[event], columns.kinds[event], np.uint8(learned))
    remember_session(state, visitor, session)
    state.scalars[EVENTS] += 1
    if learned and seconds > state.scalars[CLOCK]:
        state.scalars[CLOCK] = seconds


@kernel
def learn_counts(
    state: State, item: int, visitor: int, seconds: float, weight: float, met: np.ndarray, scratch: np.ndarray
) -> None:
    """Everything that is counted over all visitors."""
    count = meet(state, visitor, item, met)
    ahead.pair_sets(state, item, met, count)
    popularity.learn(state, item, seconds, weight)
    state.sums[item, COUNT] = max(0.0, state.sums[item, COUNT] + weight)
    row = state.items[item]
    if row.last_visitor != visitor:
        row.other_seconds = row.last_seconds
        row.last_visitor = visitor
    if seconds > row.last_seconds:
        row.last_seconds = np.uint32(seconds)
    state.items_dirty[2 * item + 1] = 1
    pairs.learn(state, item, seconds, weight, met, count)
    if weight > 0:
        if np.int64(state.scalars[EVENTS]) % EMBEDDING_EVERY == 0:
            embedding.learn(state, item, met, count, scratch)
        embedding.remember(state, item)
    custom.learn(state, item, visitor, seconds, weight, met, count)


@kernel
def meet(state: State, visitor: int, item: int, met: np.ndarray) -> int:
    """The last items that an event on `item` meets in the visitor's history, newest first; returns how many."""
    row = state.visitors[visitor]
    if row.history == 0:
        return 0
    length = run_rows(row.history) * HISTORY_ENTRIES
    entries = np.int64(row.entries)
    first = run_row(row.history)
    count = 0
    for age in range(min(entries, length)):
        at = (entries - 1 - age) % length
        entry = state.history[first + at // HISTORY_ENTRIES, at % HISTORY_ENTRIES]
        if entry.item and entry.item != item and entry.weight >= 0:
            met[count] = entry.item
            count += 1
            if count == MEETINGS:
                break
    return count


@kernel
def remember_session(state: State, visitor: int, session: int) -> None:
    """Which session a visitor was in last, for requests that name none."""
    row = state.visitors[visitor]
    if row.session != session or row.session_ordinal != state.sessions[session].ordinal:
        row.session = session
        row.session_ordinal = state.sessions[session].ordinal
        state.visitors_dirty[visitor] = 1


@kernel
def note_event_id(state: State, key: np.uint64) -> bool:
    """Remember an event id in the window; False if it is in there already."""
    ring = state.event_ids
    if find_word(state.event_cells, ring, key):
        return False
    place = np.int64(state.scalars[EVENT_IDS_SEEN]) % ring.size
    ring[place] = key
    state.event_ids_dirty[place // 4] = 1
    state.scalars[EVENT_IDS_SEEN] += 1
    enter_word(state.event_cells, state.cells_used, 2, ring, place)
    return True


@kernel
def note_seen(state: State, pair: np.uint64) -> bool:
    """Remember that a visitor had an item; False if that is known. The oldest of a set of 8 is forgotten."""
    row = np.int64(pair % np.uint64(state.seen.shape[0]))
    ways = state.seen[row]
    for way in range(SEEN_WAYS):
        if ways[way] == pair:
            return False
    for way in range(SEEN_WAYS - 1, 0, -1):
        ways[way] = ways[way - 1]
    ways[0] = pair
    state.seen_dirty[row] = 1
    return True
