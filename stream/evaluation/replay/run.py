"""Walk a history: for each event test, then learn, span by span, and gather every test.

The walk itself is the model's compiled code; Python turns only once a span. What is done with each event is decided
before, in `stream.evaluation.protocol`; what the ranks are worth is decided after, in `stream.evaluation.measures.metrics`. A
clock is an argument, so that this file reads none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple
from typing import Protocol as Interface

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.measures import metrics
from stream.evaluation.measures.result import BLEND, Evaluation, Tests
from stream.evaluation.measures.significance import compare_tests
from stream.evaluation.protocol import Action, Plan, Protocol, plan
from stream.evaluation.replay.history import History
from stream.evaluation.replay.own_source import OwnBlend, OwnSource, own_ranks
from stream.models.settings import ModelSettings

SPANS = 200
"""How often the walk comes back for the progress bar (and, with shards, for a fresh merge)."""
LEAST_SPAN = 500
TIMED_TESTS = 400

Clock = Callable[[], float]
Progress = Callable[[int, int, "Walk", Sequence[str]], None]
"""Called after each span with events done, events in all, the tests of the span, and the names of what ranked."""


class Walk(NamedTuple):
    """The tests of one span of events.

    Attributes:
        event: int64[t] numbers of the tested events.
        greater: int32[t, names] candidates that score more than the target, by `Learner.names`.
        equal: int32[t, names] other candidates that score the same.
        found: bool[t] the target was a candidate.
        candidates: int32[t] how many there were.
        fallback: uint8[t] index into `FALLBACKS`.
        top: int32[t, top] the blend's list as item codes, -1 pads.
        offsets, candidate, scores: with `export`: test i ranked `candidate[offsets[i]:offsets[i + 1]]` (item codes) by
            `scores[offsets[i]:offsets[i + 1], names]`.
    """

    event: NDArray[np.int64]
    greater: NDArray[np.int32]
    equal: NDArray[np.int32]
    found: NDArray[np.bool_]
    candidates: NDArray[np.int32]
    fallback: NDArray[np.uint8]
    top: NDArray[np.int32]
    offsets: NDArray[np.int64] | None = None
    candidate: NDArray[np.int32] | None = None
    scores: NDArray[np.float32] | None = None


class Learner(Interface):
    """What can be evaluated."""

    @property
    def names(self) -> Sequence[str]:
        """What ranks: sources, "blend", challengers."""

    @property
    def challengers(self) -> Sequence[str]:
        """Those of the names that are neither sources nor the blend."""

    def beside(self) -> dict[str, Any]:
        """Prequential figures of models that rank nothing; empty if there are none."""

    def walk(self, start: int, stop: int, actions: NDArray[np.uint8], *, top: int, export: bool = False) -> Walk:
        """Follow the `Action` bits of events `start` to `stop` (an array for all events); its state goes on."""


def evaluate(
    history: History,
    protocol: Protocol | None = None,
    settings: ModelSettings | None = None,
    *,
    learner: Learner | None = None,
    own_sources: Sequence[OwnSource] = (),
    shards: int = 1,
    clock: Clock | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Test and learn a whole history.

    Args:
        history: what happened.
        protocol: which events are tested; by user if the history has users, a fifth of it as warm-up, if not given.
        settings: of the model, the default ones if not given; `repeats` and `seed` follow the protocol.
        learner: something else to evaluate than the model.
        own_sources: further sources, asked to score the candidates of each test; they are judged by themselves and,
            among the challengers, in a blend with the model (`stream.evaluation.replay.own_source`).
        shards: as how many shards the model learns.
        clock: seconds that rise, `time.perf_counter` say; without one nothing is timed.
        progress: called after each span.

    Raises:
        WrongInput: the history can't be evaluated this way.
    """
    protocol = protocol or Protocol(by=history.default_by)
    visitor = history.visitor(protocol.by)
    chosen = (settings or ModelSettings()).model_copy(
        update={"repeats": "first" if protocol.no_repeats else "all", "seed": protocol.seed}
    )
    todo = plan(
        visitor=visitor.codes,
        item=history.data.item.codes,
        kind=history.data.event.codes,
        kinds=history.data.event.names,
        time=history.data.seconds,
        protocol=protocol,
        kind_weights=chosen.weights,
        own_weights=history.own_weights,
    )
    todo = replace(todo, notes=[*history.notes, *todo.notes])
    model = learner or _default_learner(history, protocol, chosen, todo, shards)
    started = clock() if clock else 0.0
    timer = _TestTimer(model, todo, clock)
    walks, ranked = [], []
    own_blend = OwnBlend(own_sources)
    learned = (todo.actions & Action.LEARN) > 0
    for start, stop in _spans(len(history), timer.events):
        timer.measure(start)
        walk = model.walk(start, stop, todo.actions, top=max(protocol.cutoffs), export=bool(own_sources))
        if own_sources:
            data, place = history.data, list(model.names).index(BLEND)
            ranks = own_ranks(
                own_sources, own_blend, list(_exported(walk, place)), visitor.codes, data.item.codes, data.seconds,
                learned=learned, span=(start, stop),
            )  # fmt: skip
            ranked.append(ranks)
        walks.append(walk._replace(offsets=None, candidate=None, scores=None))
        if progress:
            progress(stop, len(history), walk, model.names)
    seconds = clock() - started - timer.spent_seconds if clock else None
    tests = _gathered(tuple(model.names), walks)
    challengers = tuple(model.challengers)
    if own_sources:
        named = [*(own.name for own in own_sources), own_blend.name]
        for name, column in zip(named, np.concatenate(ranked).T, strict=True):
            tests = tests.with_source(name, column)
        challengers += (own_blend.name,)
    sharding = None
    if shards > 1:
        sharding = _cost(evaluate(history, protocol, settings, learner=None), tests, shards)
    return Evaluation(
        stream=history.name,
        protocol=protocol,
        plan=todo,
        tests=tests,
        visitor=visitor.codes,
        item=history.data.item.codes,
        time=history.data.seconds,
        items=len(np.unique(history.data.item.codes)),
        settings=chosen.model_dump(mode="json", exclude={"visitor_salt"}),
        sharding=sharding,
        beside=model.beside(),
        challengers=challengers,
        seconds=seconds,
        test_microseconds=timer.median_microseconds,
    )


def _default_learner(history: History, protocol: Protocol, settings: ModelSettings, todo: Plan, shards: int) -> Learner:
    from stream.evaluation.replay.model_learner import model_learner  # compiles the model's kernels

    return model_learner(history, protocol, settings, todo, shards=shards)


def _cost(one: Evaluation, tests: Tests, shards: int) -> dict[str, Any]:
    """What several shards cost against one."""
    cutoff = one.cutoff
    alone, together = one.measured(BLEND), metrics.hits(tests.of(BLEND), cutoff)
    difference = compare_tests(together, alone, one.visitor[one.tests.event], seed=one.protocol.seed)
    return {
        "shards": shards,
        "hr_one_shard": float(alone.mean()),
        "hr": float(together.mean()),
        "hr_cost": -difference.difference,
        "p": difference.p,
        "how": "merged tables answer; each shard learns its own visitors",
    }


def _spans(events: int, also: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Spans of events that begin at each of `also`, among others."""
    count = max(1, min(SPANS, events // LEAST_SPAN))
    edges = {*np.linspace(0, events, count + 1).astype(int).tolist(), *also}
    return pairwise(sorted(edges))


def _exported(walk: Walk, ranking: int) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """Event, candidates and scores by one ranking, of each test."""
    assert walk.offsets is not None
    assert walk.candidate is not None
    assert walk.scores is not None
    for test, event in enumerate(walk.event.tolist()):
        part = slice(walk.offsets[test], walk.offsets[test + 1])
        yield event, walk.candidate[part], walk.scores[part, ranking]


def _gathered(names: tuple[str, ...], walks: Sequence[Walk]) -> Tests:
    def all_of(field: str) -> Any:
        return np.concatenate([getattr(walk, field) for walk in walks])

    return Tests(
        names=names,
        event=all_of("event"),
        ranks=metrics.ranks(all_of("greater"), all_of("equal"), all_of("found")[:, None]),
        candidates=all_of("candidates"),
        fallback=all_of("fallback"),
        top=all_of("top"),
    )


class _TestTimer:
    """Times single tests spread over the stream, each in the very state in which it is made.

    A walk over one event with nothing to do is taken off, which leaves candidates, features and ranking.
    """

    def __init__(self, learner: Learner, todo: Plan, clock: Clock | None) -> None:
        self._learner, self._clock = learner, clock
        self._only_test = (todo.actions & Action.TEST).astype(np.uint8)
        self._nothing = np.zeros_like(todo.actions)
        tested = todo.tested
        chosen = np.linspace(0, len(tested) - 1, min(TIMED_TESTS, len(tested))).astype(int)
        self.events: list[int] = tested[chosen].tolist() if clock else []
        self._microseconds: list[float] = []
        self.spent_seconds = 0.0

    def measure(self, event: int) -> None:
        """Time the test of an event that comes next, if it is one of those chosen."""
        if self._clock is None or event not in self.events:
            return
        moments = [self._clock()]
        # The first walk finds the way to the kernel out of the caches, which would count for more than a test.
        for actions in (self._nothing, self._nothing, self._only_test):
            self._learner.walk(event, event + 1, actions, top=10)
            moments.append(self._clock())
        _, nothing, test = np.diff(moments)
        self._microseconds.append(max(0.0, test - nothing) * 1e6)
        self.spent_seconds += moments[-1] - moments[0]

    @property
    def median_microseconds(self) -> float | None:
        return float(np.median(self._microseconds)) if self._microseconds else None
