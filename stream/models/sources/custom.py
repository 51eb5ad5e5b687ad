"""Sources of one's own: a module in any installed package, announced by an entry point.

```toml
[project.entry-points."corrente.sources"]
hour_of_day = "my_shop.hour_of_day"
```

Such a source is one like the others: every event teaches it, it proposes candidates, the ranker gets its three features
for every candidate, it is tested by itself beside the champion, `disabled_sources` silences it, its table is part of
every version, is restored with it and adds up over shards. The module, one file, says in its docstring why the idea
should work and which paper it comes from, and defines

- `COLUMNS`: how many float32 numbers it keeps for each item, in the table named like the source; 0 if the other tables
  are enough;
- `PROPOSES`: how many of its best items become candidates;
- `learn(state, item, visitor, seconds, weight, met, count)`: learns an event on row `item`, of this weight, by a
  visitor whose last items were `met[:count]`, newest first. Numbers are in `state.<name>[item]`; code that writes them
  sets `state.<name>_dirty[item] = 1`. To add up over shards, they have to be sums over events;
- `score(reader, work, values)`: fills in `values[local]`, at least 0, for the items that the list has touched so far
  (the first `work.counts[LOCAL]` of `work.items`) or touches now (`local_of`). Numbers are in
  `reader.<name>[reader.<name>_index[item]]`, times in `work.visit[0]`;
- `forget(state, item)`: sets the numbers of an evicted item to 0.

All three are compiled (`@kernel`): they allocate nothing and read no clock. Numba's cache is renewed when the file
changes. `docs/how-to/add-a-source.md` shows every step, with an example of twenty lines.

This file decides how the sources of one's own are called. Names, order and number are decided in `source_registry.py`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.source_names import CUSTOM, FIRST_CUSTOM
from stream.models.source_registry import MAX_SOURCES, load
from stream.models.workspace.learning_view import State
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import Work

COUNT = len(CUSTOM)


class Source(NamedTuple):
    """One source of one's own: candidates it proposes, and its kernels."""

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


SOURCES = [Source(module.PROPOSES, module.learn, module.score, module.forget) for module in map(load, CUSTOM)]
PROPOSED = tuple((FIRST_CUSTOM + number, source.proposes) for number, source in enumerate(SOURCES) if source.proposes)
"""Number of each source that proposes, and how many candidates."""
_NOTHING = Source(0, _learn_nothing, _score_nothing, _forget_nothing)
_ROOM = [*SOURCES, *[_NOTHING] * (MAX_SOURCES - COUNT)]
_learn_1, _learn_2, _learn_3, _learn_4 = (source.learn for source in _ROOM)
_score_1, _score_2, _score_3, _score_4 = (source.score for source in _ROOM)
_forget_1, _forget_2, _forget_3, _forget_4 = (source.forget for source in _ROOM)


@kernel
def learn(state: State, item: int, visitor: int, seconds: float, weight: float, met: np.ndarray, count: int) -> None:
    """Let every source of one's own learn an event."""
    _learn_1(state, item, visitor, seconds, weight, met, count)
    _learn_2(state, item, visitor, seconds, weight, met, count)
    _learn_3(state, item, visitor, seconds, weight, met, count)
    _learn_4(state, item, visitor, seconds, weight, met, count)


@kernel
def score(reader: Reader, work: Work) -> None:
    """Let every source of one's own score the items touched so far; it may touch more."""
    if COUNT > 0:
        _score_1(reader, work, work.values[FIRST_CUSTOM])
    if COUNT > 1:
        _score_2(reader, work, work.values[FIRST_CUSTOM + 1])
    if COUNT > 2:
        _score_3(reader, work, work.values[FIRST_CUSTOM + 2])
    if COUNT > 3:
        _score_4(reader, work, work.values[FIRST_CUSTOM + 3])


@kernel
def forget(state: State, item: int) -> None:
    """Let every source of one's own forget an evicted item."""
    _forget_1(state, item)
    _forget_2(state, item)
    _forget_3(state, item)
    _forget_4(state, item)
