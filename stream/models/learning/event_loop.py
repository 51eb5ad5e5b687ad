"""Event loop: every event of a batch, in order, through everything that remembers.

For each event: skip it if its id was seen. If nothing may be kept under its visitor, count it for its item alone
(`aggregate`). Else decide at which time it counts. If it was drawn for a test, rank what is known without it. Find or
make the rows of its item, visitor and session. Then learn. All of it is one compiled loop.

This file decides these steps, their order, and what a test reports. It knows nothing about topics, Kafka or versions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.batch import EventBatch
from stream.models.entities import items, sessions, visitors
from stream.models.entities.row_lifecycle import no_row_left
from stream.models.event_codes import AGGREGATE, CLICK, LEARN, PURCHASE, RETURN, VIEW
from stream.models.feature_names import FEATURES
from stream.models.had import bought_together, kept
from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.hash_index import enter_word, find, find_word, remove_word
from stream.models.kernels.hashing import mixed
from stream.models.learning import aggregate, counting, held_events, prefetch, returns, stream_clock
from stream.models.outcomes import conversion
from stream.models.ranking import item_bias, ranker
from stream.models.ranking.own_events import gather
from stream.models.ranking.rank import Options, rank
from stream.models.schema import (
    CHALLENGER,
    CHAMPION,
    CLOCK,
    EVENT_IDS_SEEN,
    EVENTS,
    SEEN_WAYS,
    TESTS,
    VISITOR_FREE,
    VISITOR_ROWS,
    WEIGHT_ONE,
)
from stream.models.source_names import SOURCE_COUNT
from stream.models.workspace.learning_view import EVENT_INDEX, State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, HISTORY, Work
from stream.models.workspace.visitor_context import is_session, was_seen

LEARNED = 0
DUPLICATE = 1
AHEAD = 2
"""Values of `Outcomes.learned`. A duplicate's id was in the window of event ids. An event ahead was learned at the time
of the stream clock, because its own was further ahead than the clock's tolerance."""

TEST = 1
UPDATE = 2
"""Bits of `EventBatch.tested`: report the test; let the ranker learn from it."""

MISS = 1e9
"""Value of `Outcomes.greater` for a target that was no candidate."""


class Outcomes(NamedTuple):
    """Results of a batch: for each event whether it was learned, for each test its ranks.

    Row t of every array but `learned` belongs to the t-th test.

    Attributes:
        learned: (events,) uint8, `LEARNED`, `DUPLICATE` or `AHEAD`.
        events: (tests,) int64, number of the event in the batch.
        greater, equal: (tests, rankings) float32, number of candidates with a larger value than the target and, the
            target left out, with an equal one; by source, then champion, then challenger. `greater` is `MISS` if the
            target was no candidate.
        candidates: (tests,) int32, number of candidates.
        differences: (tests, features) float32, features of the target minus those of another candidate; zeros for a
            miss.
        known: (tests,) int32, number of events in the visitor's history.
        conversion_features: (tests, CONVERSION_FEATURES) float32, inputs of the conversion model.
    """

    learned: NDArray[np.uint8]
    events: NDArray[np.int64]
    greater: NDArray[np.float32]
    equal: NDArray[np.float32]
    candidates: NDArray[np.int32]
    differences: NDArray[np.float32]
    known: NDArray[np.int32]
    conversion_features: NDArray[np.float32]


@kernel
def learn_batch(
    state: State, reader: Reader, work: Work, batch: EventBatch, options: Options, outcomes: Outcomes
) -> int:
    """Test and learn the events of a batch in order; returns the number of tests.

    Args:
        state, reader: the tables, to be written and to be read by scoring.
        work: scratch.
        batch: the events.
        options: what may be ranked.
        outcomes: filled in; room for as many tests as there are events to test.
    """
    tests = 0
    state.scalars_dirty[:] = 1
    for event in range(batch.seconds.size):
        prefetch.prefetch_following(state, batch, event)
        if batch.event_ids[event] and not note_event_id(state, batch.event_ids[event]):
            outcomes.learned[event] = DUPLICATE
            continue
        if batch.learned[event] == AGGREGATE:
            if aggregate.learn(state, batch, event) < batch.seconds[event]:
                outcomes.learned[event] = AHEAD
            continue
        latest = stream_clock.latest_seen(state)
        seconds = stream_clock.observe(state, batch.visitors[event, 0], batch.seconds[event])
        if seconds < batch.seconds[event]:
            outcomes.learned[event] = AHEAD
        else:
            latest = state.scalars[CLOCK]
        if batch.tested[event] and batch.weights[event] > 0:
            tested = test_event(state, reader, work, batch, event, latest, options, outcomes, tests)
            if tested and (batch.kinds[event] == CLICK or batch.kinds[event] == VIEW):
                conversion.wait(
                    state,
                    batch.visitors[event, 0],
                    batch.items[event, 0],
                    seconds,
                    outcomes.conversion_features[tests],
                )
            tests += tested
        if batch.kinds[event] == PURCHASE:
            conversion.note_purchase(state, batch.visitors[event, 0], batch.items[event, 0])
        learn_event(state, batch, event, seconds, options, work.met, work.vector)
    return tests


@kernel
def test_event(
    state: State,
    reader: Reader,
    work: Work,
    batch: EventBatch,
    event: int,
    latest: float,
    options: Options,
    outcomes: Outcomes,
    test: int,
) -> int:
    """Rank what is known without the event, and note the rank of its item; returns 1 if the test is reported, else 0.

    Args:
        state, reader, work, batch, options, outcomes: as `learn_batch` gets them.
        event: number of the event in the batch.
        latest: time of the latest event before it; 0 before the first.
        test: row of `outcomes` to fill in.
    """
    item = find(state.item_cells, state.items, batch.items[event, 0], batch.items[event, 1])
    visitor = find(state.visitor_cells, state.visitors, batch.visitors[event, 0], batch.visitors[event, 1])
    session = find(state.session_cells, state.sessions, batch.sessions[event, 0], batch.sessions[event, 1])
    anonymous = find(state.visitor_cells, state.visitors, batch.sessions[event, 0], batch.sessions[event, 1])
    seen_by = remembered_by(batch, event, options)
    if options.only_first:
        if was_seen(reader, mixed(seen_by ^ mixed(batch.items[event, 0]))):
            return 0
    elif visitor == 0 and session == 0:
        return 0
    state.scalars[TESTS] += 1
    gather(reader, work, visitor, anonymous, session, work.no_items, max(1.0, batch.seconds[event]))
    if latest > 0.0:
        work.visit[0].now = latest
    rank(reader, work, options, seen_by)
    target = -1
    for number in range(work.counts[CANDIDATE]):
        if work.items[work.candidates[number]] == item:
            target = number
    if batch.tested[event] & TEST:
        outcomes.events[test] = event
        outcomes.candidates[test] = work.counts[CANDIDATE]
        outcomes.known[test] = work.counts[HISTORY]
        place_target(state, work, target, outcomes, test)
        champion_score = challenger_score = 0.0
        if target >= 0:
            champion_score = 4.0 / (4.0 + outcomes.greater[test, CHAMPION])
            challenger_score = 4.0 / (4.0 + outcomes.greater[test, CHALLENGER])
        conversion.describe(reader, work, item, champion_score, challenger_score, outcomes.conversion_features[test])
    if batch.tested[event] & UPDATE and target >= 0:
        item_bias.learn(state, work, ranker.learn(state, work, target))
    return 1 if batch.tested[event] & TEST else 0


@inlined
def remembered_by(batch: EventBatch, event: int, options: Options) -> np.uint64:
    """Key of the visitor (or session) whose remembered items are not ranked for this event; 0 if repeats may be."""
    if not options.only_first:
        return np.uint64(0)
    return batch.sessions[event, 0] if options.by_session else batch.visitors[event, 0]


@kernel
def place_target(state: State, work: Work, target: int, outcomes: Outcomes, test: int) -> None:
    """Note the rank of the target in each ranking, and one pair of candidates for the challenger to learn from.

    Args:
        state: the tables.
        work: the candidates, scored.
        target: number of the candidate that the event was about; -1 if it was no candidate.
        outcomes: filled in.
        test: row to fill in.
    """
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
    champion = challenger = same_champion = same_challenger = 0
    for number in range(count):
        champion += work.scores[number] > work.scores[target]
        same_champion += work.scores[number] == work.scores[target]
        challenger += work.challenger[number] > work.challenger[target]
        same_challenger += work.challenger[number] == work.challenger[target]
    outcomes.greater[test, CHAMPION] = champion
    outcomes.equal[test, CHAMPION] = same_champion - 1
    outcomes.greater[test, CHALLENGER] = challenger
    outcomes.equal[test, CHALLENGER] = same_challenger - 1
    contrast(state, work, target, outcomes.differences[test])


@kernel
def contrast(state: State, work: Work, target: int, differences: np.ndarray) -> None:
    """Features of the target minus those of one other candidate, which is drawn by the number of the test."""
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
    state: State, batch: EventBatch, event: int, seconds: float, options: Options, met: np.ndarray, scratch: np.ndarray
) -> None:
    """Write one event into every table that it concerns.

    Args:
        state: the tables.
        batch: the events.
        event: number of the event in the batch.
        seconds: the time at which it counts, from `stream_clock.observe`.
        options: whether repeats are learned.
        met: (MEETINGS,) scratch.
        scratch: (at least as long as a vector) scratch.
    """
    held = batch.seconds[event] > seconds
    seconds = max(1.0, seconds)
    aggregate.begin_counts(state, seconds)
    start = batch.starts[event]
    size = max(0, batch.starts[event + 1] - start - 1)
    new_item = held and find(state.item_cells, state.items, batch.items[event, 0], batch.items[event, 1]) == 0
    item = items.find_or_add(state, batch.items[event, 0], batch.items[event, 1], batch.names, start, size, seconds)
    if state.clock[0].held_first and no_row_left(state.visitors, state.scalars, VISITOR_ROWS, VISITOR_FREE):
        held_events.release(state, stream_clock.moment(state))  # their visitors' rows may be freed
    visitor = visitors.find_or_add(state, batch.visitors[event, 0], batch.visitors[event, 1], seconds)
    session = sessions.find_or_add(state, batch.sessions[event, 0], batch.sessions[event, 1])
    weight = batch.weights[event] / WEIGHT_ONE
    learned = batch.learned[event] != 0
    if options.only_first and learned:
        seen_by = remembered_by(batch, event, options)
        learned = note_seen(state, mixed(seen_by ^ mixed(batch.items[event, 0])))
    if batch.kinds[event] == RETURN and weight < 0:
        if batch.learned[event]:
            returns.take_back(state, visitor, item, -np.int64(batch.weights[event]), met)
        learned = False  # it counts nothing at its own time
    if learned:
        counting.learn_counts(state, item, visitor, seconds, weight, held, met, scratch)
    if weight >= 0:
        sessions.learn(state, session, item, seconds, learned)
    if held:
        held_events.make_room(state, visitor, seconds)
    visitors.remember(state, visitor, item, seconds, batch.weights[event], batch.kinds[event], np.uint8(learned))
    if kept.may_note(batch.kinds[event]):
        if batch.kinds[event] == PURCHASE and weight > 0 and batch.learned[event] == LEARN:
            bought_together.learn(state, batch.visitors[event, 0], item, seconds)
        kept.note(state, batch.visitors[event, 0], item, seconds, batch.weights[event], batch.kinds[event])
    remember_session(state, visitor, session)
    if held:
        held_events.hold(state, visitor, batch.seconds[event], learned, new_item)
    state.scalars[EVENTS] += 1
    if learned and seconds > state.scalars[CLOCK]:
        state.scalars[CLOCK] = seconds


@kernel
def remember_session(state: State, visitor: int, session: int) -> None:
    """Keep a visitor's last session, for requests that name none."""
    row = state.visitors[visitor]
    last = state.sessions[session]
    if row.session != session or not is_session(row, last):
        row.session = session
        row.session_ordinal = last.ordinal
        row.session_ordinal_high = last.ordinal_high
        state.visitors_dirty[visitor] = 1


@kernel
def note_event_id(state: State, key: np.uint64) -> bool:
    """Remember an event id in the window; False if it is in there already."""
    ring = state.event_ids
    if find_word(state.event_cells, ring, key):
        return False
    place = np.int64(state.scalars[EVENT_IDS_SEEN]) % ring.size
    prefetch.prefetch_oldest_ids(state, place)
    if ring[place]:
        remove_word(state.event_cells, state.cells_used, EVENT_INDEX, ring, place)
    ring[place] = key
    state.event_ids_dirty[place // 4] = 1
    state.scalars[EVENT_IDS_SEEN] += 1
    enter_word(state.event_cells, state.cells_used, EVENT_INDEX, ring, place)
    return True


@kernel
def note_seen(state: State, pair: np.uint64) -> bool:
    """Remember that a visitor had an item; False if that is known already.

    The oldest of a set of `SEEN_WAYS` is forgotten.

    Args:
        state: the tables.
        pair: hash of the keys of both, not 0.
    """
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
