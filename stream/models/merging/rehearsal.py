"""Rehearsal: the ranker of merged shards learns from the visitors' last events once more.

A shard's ranker has learned how far to trust counts that its own visitors made alone. Over all shards these counts are
surer, and a ranker that was not trained on them leans on popularity more than it should. The merged tables have all
that its training takes: an event near the end of a visitor's history is ranked as it would have been before it happened
(the event and what came after are no history, and as own events they are taken out of the counts), and the ranker
learns from the outcome. The item bias begins anew with it, because what the shards' rankers expected of an item says
nothing about what this one expects.

This file decides which events these are. The choice depends on the tables alone, so every process that merges the same
shards gets the same weights.
"""

from __future__ import annotations

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.kernels.ordinals import whole
from stream.models.ranking import item_bias, ranker
from stream.models.ranking.own_events import own_events
from stream.models.ranking.rank import Options, rank
from stream.models.schema import CLOCK, TESTS, VISITOR_ROWS
from stream.models.workspace.learning_view import State, state_of
from stream.models.workspace.scoring_view import Reader, reader_of, views_of
from stream.models.workspace.scratch import (
    CANDIDATE,
    CHECKED,
    HISTORY,
    SESSION,
    UNIQUE,
    Work,
    clear,
    local_of,
    new_work,
)
from stream.models.workspace.visitor_context import is_session, join, mark_unique, put_session
from stream.state.tables import Tables

LESSONS = 2000
"""Events at most; they take a fifth of a second on dense histories."""
LESSONS_EACH = 5
"""Events of one visitor at most: own events are taken out of the counts as far as twelve back."""

PAST_ITEMS = 3
"""Items of the history that stand for a session of which nothing is left."""


def rehearse(tables: Tables, options: Options) -> None:
    """Train the ranker in these tables on the last events in them.

    Args:
        tables: of the merge; its weights and item biases change.
        options: what may be ranked.
    """
    visitors = tables["visitors"].data
    rows = np.arange(1, int(tables["scalars"].data[0, VISITOR_ROWS]))
    rows = rows[np.lexsort((rows, visitors["last_seconds"][rows]))][::-1]
    lessons = np.zeros((LESSONS, 2), np.int64)
    reader, work = reader_of(views_of(tables)), new_work()
    count = choose(reader, work, rows, options.only_first, lessons)
    teach(state_of(tables, directories=False), reader, work, options, lessons[:count][::-1])


@kernel
def choose(reader: Reader, work: Work, visitors: np.ndarray, firsts: bool, lessons: np.ndarray) -> int:
    """Choose the events that the ranker learns from; returns how many there are.

    Args:
        reader: the merged tables.
        work: scratch.
        visitors: their rows, the one seen last first.
        firsts: true if a visitor's first event counts, too.
        lessons: (n, 2), filled in: the visitor's row, and how many events the visitor had afterwards.
    """
    count = 0
    for visitor in visitors:
        clear(work)
        join(reader, work, visitor, 0)
        known = work.counts[HISTORY]
        for age in range(min(LESSONS_EACH, known if firsts else known - 1)):
            if work.history_learned[age] and work.history_weights[age] > 0:
                lessons[count, 0] = visitor
                lessons[count, 1] = age
                count += 1
                if count == lessons.shape[0]:
                    return count
    return count


@kernel
def teach(state: State, reader: Reader, work: Work, options: Options, lessons: np.ndarray) -> None:
    """Rank each of these events as before it happened, and learn from the outcome.

    Args:
        state, reader: the merged tables, to be written and to be read.
        work: scratch.
        options: what may be ranked.
        lessons: (n, 2), as `choose` fills them in; learned in this order.
    """
    for lesson in range(lessons.shape[0]):
        visitor = lessons[lesson, 0]
        item = look_back(reader, work, visitor, lessons[lesson, 1])
        seen_by = np.uint64(0)
        if options.only_first:
            row = reader.visitors[reader.visitors_index[visitor]]
            seen_by = row.key0
            if options.by_session and work.visit[0].ordinal:
                seen_by = reader.sessions[reader.sessions_index[row.session]].key0
        state.scalars[TESTS] += 1
        rank(reader, work, options, seen_by)
        for number in range(work.counts[CANDIDATE]):
            if work.items[work.candidates[number]] == item:
                item_bias.learn(state, work, ranker.learn(state, work, number))
                break


@kernel
def look_back(reader: Reader, work: Work, visitor: int, age: int) -> int:
    """Gather what was known before one of a visitor's events; returns its item.

    Args:
        reader: the tables.
        work: gets the history, the session and the own events up to then.
        visitor: row of the visitor.
        age: number of the visitor's events after that one.
    """
    clear(work)
    work.visit[0].now = reader.scalars[CLOCK]
    work.visit[0].visitor = visitor
    work.visit[0].ordinal = 0
    work.visit[0].similarity = 0
    join(reader, work, visitor, 0)
    own_events(reader, work)
    item = work.history_items[age]
    work.visit[0].moment = work.history_seconds[age]
    for later in range(age + 1):  # not yet in the history then
        local = local_of(work, work.history_items[later])
        if local >= 0:
            work.flags[local] |= CHECKED
    left = work.counts[HISTORY] - age - 1
    for at in range(left):
        work.history_items[at] = work.history_items[at + age + 1]
        work.history_seconds[at] = work.history_seconds[at + age + 1]
        work.history_weights[at] = work.history_weights[at + age + 1]
        work.history_learned[at] = work.history_learned[at + age + 1]
    work.counts[HISTORY] = left
    mark_unique(work)
    take_past_session(reader, work, visitor)
    return item


@kernel
def take_past_session(reader: Reader, work: Work, visitor: int) -> None:
    """Take those items of the visitor's last session that are in what is left of the history, else the last three."""
    count = 0
    row = reader.visitors[reader.visitors_index[visitor]]
    session = reader.sessions[reader.sessions_index[row.session]]
    if row.session and is_session(row, session):
        work.visit[0].ordinal = whole(session.ordinal, session.ordinal_high)
        items = reader.session_items[reader.session_items_index[row.session]]
        for place in range(work.counts[UNIQUE]):
            for column in range(np.int64(session.items)):
                if items[column] == work.unique[place]:
                    count = put_session(work, work.unique[place], count)
                    break
    work.visit[0].session_length = count
    if count == 0:
        for place in range(min(PAST_ITEMS, work.counts[UNIQUE])):
            work.session[place] = work.unique[place]
            count += 1
    work.counts[SESSION] = count
