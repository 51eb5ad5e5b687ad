"""The compiled replay loop: the model's own kernels, one event after the other, under a plan.

This file decides in which order the steps of one event are taken. A worker learns a batch with
`stream.models.learning.event_loop`; this loop calls the same functions for the same steps (find, gather, rank, train
the ranker, learn the event). The difference is that here the `Action` bits of an event decide whether it is tested,
trains the ranker, is learned or only becomes context. A test alone changes no table.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.batch import EventBatch
from stream.models.event_codes import CLICK, PURCHASE, VIEW
from stream.models.feature_names import FEATURES
from stream.models.kernels.compile import inlined, kernel
from stream.models.kernels.hash_index import find
from stream.models.learning import aggregate, stream_clock
from stream.models.learning.event_loop import contrast, learn_event, remembered_by
from stream.models.outcomes import conversion
from stream.models.ranking import item_bias, ranker
from stream.models.ranking.answer import fill
from stream.models.ranking.own_events import gather
from stream.models.ranking.rank import Options, rank
from stream.models.schema import CHALLENGER, CHAMPION, CLOCK, CONVERSION_FEATURES, RANKINGS, TESTS
from stream.models.sources.pairs import MEETINGS
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, CANDIDATES, UNIQUE, Work

PERSONAL, SESSION, TRENDING, POPULAR, NEWEST = range(5)
"""Origins of an answer: indexes into `stream.evaluation.measures.result.FALLBACKS`."""
LEARN, SHOW, TEST, TRAIN_RANKER, COUNT = 1, 2, 4, 8, 16
"""The bits of `stream.evaluation.protocol.Action` as plain integers, because kernels take no enumeration."""


class OutcomeBuffers(NamedTuple):
    """Arrays for the outcomes of the tests of a span; row t is the t-th test.

    Attributes:
        event: (tests,) int64, number of the event.
        greater, equal: (tests, rankings) int32, candidates that score more than the target, and the same.
        found: (tests,) bool, True if the target was a candidate.
        candidates: (tests,) int32, number of ranked candidates.
        fallback: (tests,) uint8, origin of the answer.
        leader: (1,) int64, the ranking that orders the list.
        top: (tests, k) int32, item codes by the leader; -1 pads.
        candidate, scores: item codes, and (…, rankings) scores, of every candidate of every test; empty without export.
        filled: (tests + 1,) int64, offset at which the candidates of each test begin.
        differences: (trained, features) float32, features of the target minus those of another candidate, for the
            challenger; zeros for a miss.
        conversion_features: float32, features of a click for the conversion model; empty if purchases don't follow
            clicks in this history.
        met, scratch, no_items, place, values: working memory, because kernels allocate nothing.
    """

    event: NDArray[np.int64]
    greater: NDArray[np.int32]
    equal: NDArray[np.int32]
    found: NDArray[np.bool_]
    candidates: NDArray[np.int32]
    fallback: NDArray[np.uint8]
    leader: NDArray[np.int64]
    top: NDArray[np.int32]
    candidate: NDArray[np.int32]
    scores: NDArray[np.float32]
    filled: NDArray[np.int64]
    differences: NDArray[np.float32]
    conversion_features: NDArray[np.float32]
    met: NDArray[np.int64]
    scratch: NDArray[np.float32]
    no_items: NDArray[np.int64]
    place: NDArray[np.int64]
    values: NDArray[np.float64]


def new_buffers(tests: int, trained: int, top: int, *, leader: int, export: bool, conversion: bool) -> OutcomeBuffers:
    """Allocate buffers for one span.

    Args:
        tests: number of tests.
        trained: number of events that train the ranker.
        top: length of the lists.
        leader: the ranking that orders the list.
        export: keep every candidate and its scores.
        conversion: the conversion model learns.
    """
    exported = tests * CANDIDATES if export else 0
    return OutcomeBuffers(
        event=np.zeros(tests, np.int64),
        greater=np.zeros((tests, RANKINGS), np.int32),
        equal=np.zeros((tests, RANKINGS), np.int32),
        found=np.zeros(tests, np.bool_),
        candidates=np.zeros(tests, np.int32),
        fallback=np.zeros(tests, np.uint8),
        leader=np.array([leader]),
        top=np.full((tests, top), -1, np.int32),
        candidate=np.zeros(exported, np.int32),
        scores=np.zeros((exported, RANKINGS), np.float32),
        filled=np.zeros(tests + 1, np.int64),
        differences=np.zeros((trained, FEATURES), np.float32),
        conversion_features=np.zeros(CONVERSION_FEATURES if conversion else 0, np.float32),
        met=np.zeros(MEETINGS, np.int64),
        scratch=np.zeros(64, np.float32),
        no_items=np.zeros(0, np.int64),
        place=np.zeros(1, np.int64),
        values=np.zeros(top),
    )


@kernel
def replay_events(
    state: State,
    reader: Reader,
    work: Work,
    batch: EventBatch,
    codes: NDArray[np.int32],
    code_of_row: NDArray[np.int32],
    options: Options,
    actions: NDArray[np.uint8],
    start: int,
    stop: int,
    buffers: OutcomeBuffers,
) -> None:
    """Follow the actions of events `start` to `stop`, and write the outcomes of their tests into `buffers`.

    Args:
        batch: every event of the history; `batch.learned` is 0 for events that only become context.
        codes: (events,) item code of each event.
        code_of_row: item code of each row of the item table, kept up to date here.
        options: decides what may be ranked.
        actions: (events,) `Action` bits.
        start: number of the first event.
        stop: number of the event after the last.
        buffers: as `new_buffers` allocates them.
    """
    test = trained = 0
    for event in range(start, stop):
        bits = actions[event]
        if bits & COUNT:
            aggregate.learn(state, batch, event)
            note_code(state, batch, event, codes, code_of_row)
            continue
        latest = stream_clock.latest_seen(state)
        if bits & (LEARN | SHOW):
            seconds = stream_clock.observe(state, batch.visitors[event, 0], batch.seconds[event])
        else:
            seconds = stream_clock.counted_at(state, batch.seconds[event])
        if seconds == batch.seconds[event]:
            latest = state.scalars[CLOCK]
        if bits & (TEST | TRAIN_RANKER):
            target = rank_for(state, reader, work, batch, event, latest, options, buffers.no_items)
            if bits & TEST:
                buffers.event[test] = event
                buffers.fallback[test] = origin_of(state, reader, work, batch, event, options, buffers.place)
                write_outcome(work, target, code_of_row, buffers, test)
                test += 1
            if bits & TRAIN_RANKER:
                state.scalars[TESTS] += 1
                if target >= 0:
                    contrast(state, work, target, buffers.differences[trained])
                    item_bias.learn(state, work, ranker.learn(state, work, target))
                trained += 1
                if buffers.conversion_features.size and (batch.kinds[event] == CLICK or batch.kinds[event] == VIEW):
                    remember_click(state, reader, work, batch, event, seconds, target, buffers.conversion_features)
        if buffers.conversion_features.size and bits & LEARN and batch.kinds[event] == PURCHASE:
            conversion.note_purchase(state, batch.visitors[event, 0], batch.items[event, 0])
        if bits & (LEARN | SHOW):
            learn_event(state, batch, event, seconds, options, buffers.met, buffers.scratch)
            note_code(state, batch, event, codes, code_of_row)


@inlined
def note_code(
    state: State, batch: EventBatch, event: int, codes: NDArray[np.int32], code_of_row: NDArray[np.int32]
) -> None:
    """Write the item code of an event to the row that its item has, if it has one."""
    row = find(state.item_cells, state.items, batch.items[event, 0], batch.items[event, 1])
    if row:
        code_of_row[row] = codes[event]


@kernel
def rank_for(
    state: State,
    reader: Reader,
    work: Work,
    batch: EventBatch,
    event: int,
    latest: float,
    options: Options,
    no_items: NDArray[np.int64],
) -> int:
    """Rank for the visitor of an event, at its own time; `latest` is the time of the latest event before it.

    Returns:
        The number of the candidate that is its item; -1 if none is.
    """
    item = find(state.item_cells, state.items, batch.items[event, 0], batch.items[event, 1])
    visitor = find(state.visitor_cells, state.visitors, batch.visitors[event, 0], batch.visitors[event, 1])
    session = find(state.session_cells, state.sessions, batch.sessions[event, 0], batch.sessions[event, 1])
    anonymous = find(state.visitor_cells, state.visitors, batch.sessions[event, 0], batch.sessions[event, 1])
    gather(reader, work, visitor, anonymous, session, no_items, max(1.0, batch.seconds[event]))
    if latest > 0.0:
        work.visit[0].now = latest
    rank(reader, work, options, remembered_by(batch, event, options))
    if item:
        for number in range(work.counts[CANDIDATE]):
            if work.items[work.candidates[number]] == item:
                return number
    return -1


@kernel
def origin_of(
    state: State,
    reader: Reader,
    work: Work,
    batch: EventBatch,
    event: int,
    options: Options,
    place: NDArray[np.int64],
) -> int:
    """Origin of the answer in `work`, with the meaning that `Model.recommend` gives it."""
    if work.counts[UNIQUE]:
        visitor = find(state.visitor_cells, state.visitors, batch.visitors[event, 0], batch.visitors[event, 1])
        return PERSONAL if visitor else SESSION
    if work.counts[CANDIDATE]:
        return TRENDING
    popular = fill(reader, work, remembered_by(batch, event, options), place, 0, False)
    return POPULAR if popular else NEWEST


@kernel
def write_outcome(work: Work, target: int, code_of_row: NDArray[np.int32], buffers: OutcomeBuffers, test: int) -> None:
    """Write the target's place in each ranking, the candidates and the top of the list to row `test`."""
    count = work.counts[CANDIDATE]
    buffers.candidates[test] = count
    buffers.found[test] = target >= 0
    if target >= 0:
        for ranking in range(RANKINGS):
            own = score_of(work, ranking, target)
            greater = equal = 0
            for number in range(count):
                value = score_of(work, ranking, number)
                greater += value > own
                equal += value == own
            buffers.greater[test, ranking] = greater
            buffers.equal[test, ranking] = equal - 1
    begin = buffers.filled[test]
    if buffers.candidate.size:
        for number in range(count):
            buffers.candidate[begin + number] = code_of_row[work.items[work.candidates[number]]]
            for ranking in range(RANKINGS):
                buffers.scores[begin + number, ranking] = score_of(work, ranking, number)
    buffers.filled[test + 1] = begin + count
    write_top(work, count, code_of_row, buffers.leader[0], buffers.top[test], buffers.values)


@kernel
def remember_click(
    state: State,
    reader: Reader,
    work: Work,
    batch: EventBatch,
    event: int,
    seconds: float,
    target: int,
    conversion_features: NDArray[np.float32],
) -> None:
    """Keep a click and its features until the conversion model knows whether a purchase follows."""
    rank_score = challenger_score = 0.0
    if target >= 0:
        rank_score = 4.0 / (4.0 + count_greater(work, CHAMPION, target))
        challenger_score = 4.0 / (4.0 + count_greater(work, CHALLENGER, target))
    item = find(state.item_cells, state.items, batch.items[event, 0], batch.items[event, 1])
    conversion.describe(reader, work, item, rank_score, challenger_score, conversion_features)
    conversion.wait(state, batch.visitors[event, 0], batch.items[event, 0], seconds, conversion_features)


@kernel
def count_greater(work: Work, ranking: int, target: int) -> int:
    """Number of candidates that score more than the target."""
    greater = 0
    for number in range(work.counts[CANDIDATE]):
        greater += score_of(work, ranking, number) > score_of(work, ranking, target)
    return greater


@kernel
def score_of(work: Work, ranking: int, number: int) -> float:
    """Score of a candidate by one ranking: a source, the blend or the challenger."""
    if ranking == CHAMPION:
        return np.float64(work.scores[number])
    if ranking == CHALLENGER:
        return work.challenger[number]
    return np.float64(work.source_values[ranking, number])


@kernel
def write_top(
    work: Work,
    count: int,
    code_of_row: NDArray[np.int32],
    leader: int,
    top: NDArray[np.int32],
    values: NDArray[np.float64],
) -> None:
    """Write the first places by the leader to `top`; ties go to the candidate that was proposed first."""
    held = 0
    for number in range(count):
        value = score_of(work, leader, number)
        if held == top.size and (held == 0 or value <= values[held - 1]):
            continue
        place = min(held, top.size - 1)
        while place > 0 and values[place - 1] < value:
            values[place] = values[place - 1]
            top[place] = top[place - 1]
            place -= 1
        values[place] = value
        top[place] = code_of_row[work.items[work.candidates[number]]]
        held = min(held + 1, top.size)
