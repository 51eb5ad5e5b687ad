"""The compiled walk: the model's own kernels, one event after the other, under a plan.

The worker learns a batch with `stream.models.learning.learner`; this loop calls the same functions for the same steps (find,
gather, rank, learn the ranker, learn the event) and differs in who decides: here an event's `Action` bits say whether
it is tested, taught, learned or only shown. A test alone changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.batch import CLICK, PURCHASE, VIEW, EventBatch
from stream.models.kernels.compile import kernel
from stream.models.kernels.hash_index import find
from stream.models.learning.learner import contrast, learn_event, remembered_by
from stream.models.model import fill
from stream.models.outcomes import conversion
from stream.models.ranking import item_bias, ranker
from stream.models.ranking.own_events import gather
from stream.models.ranking.rank import Options, rank
from stream.models.schema import BLEND, CHALLENGER, CONVERSION_FEATURES, FEATURES, RANKINGS, TESTS
from stream.models.sources.pairs import MEETINGS
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, CANDIDATES, UNIQUE, Work

PERSONAL, SESSION, TRENDING, POPULAR, NEWEST = range(5)
"""What an answer was made from: places in `stream.evaluation.measures.result.FALLBACKS`."""
LEARN, SHOW, TEST, TEACH = 1, 2, 4, 8
"""The bits of `stream.evaluation.protocol.Action`, as a kernel reads them."""


class Found(NamedTuple):
    """Room for the outcomes of the tests of a span; row t is the t-th test.

    Attributes:
        event: (tests,) int64.
        greater, equal: (tests, rankings) int32.
        found: (tests,) bool.
        candidates: (tests,) int32: how many were ranked.
        fallback: (tests,) uint8: what the answer was made from.
        leader: (1,) int64, the ranking that orders the list.
        top: (tests, k) int32 item codes by the leader, -1 pads.
        candidate, scores: with room for every candidate of every test, or none: item codes, and (…, rankings) scores.
        filled: (tests + 1,) int64, where each test's candidates begin.
        differences: (taught, features) float32: features of what happened minus those of another candidate, for the
            challenger; zeros for a miss.
        situation: what the conversion model gets to know of a click; empty if purchases don't follow clicks here.
        met, scratch, nobody, place, values: room for the kernels, which allocate nothing.
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
    situation: NDArray[np.float32]
    met: NDArray[np.int64]
    scratch: NDArray[np.float32]
    nobody: NDArray[np.int64]
    place: NDArray[np.int64]
    values: NDArray[np.float64]


def room(tests: int, taught: int, top: int, *, leader: int, export: bool, conversion: bool) -> Found:
    """Room for so many tests, and for so many events that teach."""
    exported = tests * CANDIDATES if export else 0
    return Found(
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
        differences=np.zeros((taught, FEATURES), np.float32),
        situation=np.zeros(CONVERSION_FEATURES if conversion else 0, np.float32),
        met=np.zeros(MEETINGS, np.int64),
        scratch=np.zeros(64, np.float32),
        nobody=np.zeros(0, np.int64),
        place=np.zeros(1, np.int64),
        values=np.zeros(top),
    )


@kernel
def walk(
    state: State,
    reader: Reader,
    work: Work,
    columns: EventBatch,
    codes: NDArray[np.int32],
    code_of_row: NDArray[np.int32],
    options: Options,
    actions: NDArray[np.uint8],
    start: int,
    stop: int,
    found: Found,
) -> None:
    """Follow the actions of events `start` to `stop` and write the outcomes of their tests into `found`.

    `columns.learned` says which events are learned and which only shown; `codes` are the items of the events, and
    `code_of_row` those of the rows of the item table, kept up to date here.
    """
    test = taught = 0
    for event in range(start, stop):
        bits = actions[event]
        if bits & (TEST | TEACH):
            target = answer(state, reader, work, columns, event, options, found.nobody)
            if bits & TEST:
                found.event[test] = event
                found.fallback[test] = made_from(state, reader, work, columns, event, options, found.place)
                note(work, target, code_of_row, found, test)
                test += 1
            if bits & TEACH:
                state.scalars[TESTS] += 1
                if target >= 0:
                    contrast(state, work, target, found.differences[taught])
                    item_bias.learn(state, work, ranker.learn(state, work, target))
                taught += 1
                if found.situation.size and (columns.kinds[event] == CLICK or columns.kinds[event] == VIEW):
                    await_purchase(state, reader, work, columns, event, target, found.situation)
        if found.situation.size and bits & LEARN and columns.kinds[event] == PURCHASE:
            conversion.note_purchase(state, columns.visitors[event, 0], columns.items[event, 0])
        if bits & (LEARN | SHOW):
            learn_event(state, columns, event, options, found.met, found.scratch)
            row = find(state.item_cells, state.items, columns.items[event, 0], columns.items[event, 1])
            code_of_row[row] = codes[event]


@kernel
def answer(
    state: State,
    reader: Reader,
    work: Work,
    columns: EventBatch,
    event: int,
    options: Options,
    nobody: NDArray[np.int64],
) -> int:
    """Rank for the visitor of an event, and return which candidate its item is, -1 if none."""
    item = find(state.item_cells, state.items, columns.items[event, 0], columns.items[event, 1])
    visitor = find(state.visitor_cells, state.visitors, columns.visitors[event, 0], columns.visitors[event, 1])
    session = find(state.session_cells, state.sessions, columns.sessions[event, 0], columns.sessions[event, 1])
    anonymous = find(state.visitor_cells, state.visitors, columns.sessions[event, 0], columns.sessions[event, 1])
    gather(reader, work, visitor, anonymous, session, nobody, max(1.0, columns.seconds[event]))
    rank(reader, work, options, remembered_by(columns, event, options))
    if item:
        for number in range(work.counts[CANDIDATE]):
            if work.items[work.candidates[number]] == item:
                return number
    return -1


@kernel
def made_from(
    state: State,
    reader: Reader,
    work: Work,
    columns: EventBatch,
    event: int,
    options: Options,
    place: NDArray[np.int64],
) -> int:
    """What the answer that stands in `work` was made from, as `Model.recommend` says it."""
    if work.counts[UNIQUE]:
        visitor = find(state.visitor_cells, state.visitors, columns.visitors[event, 0], columns.visitors[event, 1])
        return PERSONAL if visitor else SESSION
    if work.counts[CANDIDATE]:
        return TRENDING
    popular = fill(reader, work, options, remembered_by(columns, event, options), place, 0, False)
    return POPULAR if popular else NEWEST


@kernel
def note(work: Work, target: int, code_of_row: NDArray[np.int32], found: Found, test: int) -> None:
    """Write down where the target stands in each ranking, and what was ranked."""
    count = work.counts[CANDIDATE]
    found.candidates[test] = count
    found.found[test] = target >= 0
    if target >= 0:
        for ranking in range(RANKINGS):
            own = value_of(work, ranking, target)
            greater = equal = 0
            for number in range(count):
                value = value_of(work, ranking, number)
                greater += value > own
                equal += value == own
            found.greater[test, ranking] = greater
            found.equal[test, ranking] = equal - 1
    begin = found.filled[test]
    if found.candidate.size:
        for number in range(count):
            found.candidate[begin + number] = code_of_row[work.items[work.candidates[number]]]
            for ranking in range(RANKINGS):
                found.scores[begin + number, ranking] = value_of(work, ranking, number)
    found.filled[test + 1] = begin + count
    best_of(work, count, code_of_row, found.leader[0], found.top[test], found.values)


@kernel
def await_purchase(
    state: State,
    reader: Reader,
    work: Work,
    columns: EventBatch,
    event: int,
    target: int,
    situation: NDArray[np.float32],
) -> None:
    """Let a click wait for what becomes of it, with what was known when it happened."""
    rank_score = challenger_score = 0.0
    if target >= 0:
        rank_score = 4.0 / (4.0 + above(work, BLEND, target))
        challenger_score = 4.0 / (4.0 + above(work, CHALLENGER, target))
    item = find(state.item_cells, state.items, columns.items[event, 0], columns.items[event, 1])
    conversion.describe(reader, work, item, rank_score, challenger_score, situation)
    conversion.wait(state, columns.visitors[event, 0], columns.items[event, 0], columns.seconds[event], situation)


@kernel
def above(work: Work, ranking: int, target: int) -> int:
    """How many candidates score more than the target."""
    greater = 0
    for number in range(work.counts[CANDIDATE]):
        greater += value_of(work, ranking, number) > value_of(work, ranking, target)
    return greater


@kernel
def value_of(work: Work, ranking: int, number: int) -> float:
    if ranking == BLEND:
        return np.float64(work.scores[number])
    if ranking == CHALLENGER:
        return work.challenger[number]
    return np.float64(work.columns[ranking, number])


@kernel
def best_of(
    work: Work,
    count: int,
    code_of_row: NDArray[np.int32],
    leader: int,
    top: NDArray[np.int32],
    values: NDArray[np.float64],
) -> None:
    """The first places by the leader; ties go to the candidate that was proposed first."""
    held = 0
    for number in range(count):
        value = value_of(work, leader, number)
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
