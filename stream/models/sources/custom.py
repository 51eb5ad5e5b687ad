"""Sources of one's own: a file in this folder, and its name in `layout.ADDED`.

From then on a source is one like the others: every event teaches it, it proposes candidates, the ranker gets its three
features for every candidate, it is tested by itself beside the blend, `disabled_sources` silences it, its table is part
of every version, is restored with it and adds up over shards. The file, `stream/models/<name>.py`, says why the idea
should work and where it comes from, and has

- `COLUMNS`: how many float32 numbers it keeps for each item, in the table `<name>`; 0 if the other tables are enough;
- `PROPOSES`: how many of its best items become candidates;
- `learn(state, item, visitor, seconds, weight, met, count)`: an event on row `item`, of this weight, by a visitor whose
  last items were `met[:count]`, newest first. Numbers are in `state.<name>[item]`; whoever writes them sets
  `state.<name>_dirty[item] = 1`. To add up over shards, they are sums over events;
- `score(reader, work, values)`: fills in `values[local]`, at least 0, for the items that the answer has touched so far
  (the first `work.counts[LOCAL]` of `work.items`) or that it touches now (`local_of`). Numbers are in
  `reader.<name>[reader.<name>_index[item]]`;
- `forget(state, item)`: the item goes out; its numbers become 0.

All three are compiled (`@kernel`): they allocate nothing and read no clock. `tests/stream/models/sources/test_custom.py` has one
that is twenty lines long. There is room for `MOST`, because each is called by a line of its own here, which the
compiler can follow and keep on disk.
"""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.source_names import ADDED, EMBEDDING
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import Work

MOST = 4
COUNT = len(ADDED)
FIRST = EMBEDDING + 1


class Source(NamedTuple):
    """What a source's file has."""

    columns: int
    proposes: int
    learn: Any
    score: Any
    forget: Any


@kernel
def _learn_nothing(
    state: State, item: int, visitor: int, seconds: float, weight: float, met: np.ndarray, count: int
) -> None:
    pass


@kernel
def _score_nothing(reader: Reader, work: Work, values: np.ndarray) -> None:
    pass


@kernel
def _forget_nothing(state: State, item: int) -> None:
    pass


def _sources() -> list[Source]:
    if COUNT > MOST:
        raise ValueError(f"layout.ADDED has {COUNT} sources, there is room for {MOST}")
    found = []
    for name in ADDED:
        module = importlib.import_module(f"stream.models.sources.{name}")
        found.append(Source(module.COLUMNS, module.PROPOSES, module.learn, module.score, module.forget))
    return found


SOURCES = _sources()
PROPOSED = tuple((FIRST + number, source.proposes) for number, source in enumerate(SOURCES) if source.proposes)
_NOTHING = Source(0, 0, _learn_nothing, _score_nothing, _forget_nothing)
_ROOM = [*SOURCES, *[_NOTHING] * (MOST - COUNT)]
_learn_1, _learn_2, _learn_3, _learn_4 = (source.learn for source in _ROOM)
_score_1, _score_2, _score_3, _score_4 = (source.score for source in _ROOM)
_forget_1, _forget_2, _forget_3, _forget_4 = (source.forget for source in _ROOM)


@kernel
def learn(state: State, item: int, visitor: int, seconds: float, weight: float, met: np.ndarray, count: int) -> None:
    """An event teaches every added source."""
    _learn_1(state, item, visitor, seconds, weight, met, count)
    _learn_2(state, item, visitor, seconds, weight, met, count)
    _learn_3(state, item, visitor, seconds, weight, met, count)
    _learn_4(state, item, visitor, seconds, weight, met, count)


@kernel
def score(reader: Reader, work: Work) -> None:
    """Every added source says what it thinks of the items touched so far, and may touch more."""
    if COUNT > 0:
        _score_1(reader, work, work.values[FIRST])
    if COUNT > 1:
        _score_2(reader, work, work.values[FIRST + 1])
    if COUNT > 2:
        _score_3(reader, work, work.values[FIRST + 2])
    if COUNT > 3:
        _score_4(reader, work, work.values[FIRST + 3])


@kernel
def forget(state: State, item: int) -> None:
    """An item goes out."""
    _forget_1(state, item)
    _forget_2(state, item)
    _forget_3(state, item)
    _forget_4(state, item)
