"""Evaluation of a whole history: test each event, then learn it, span by span, and gather every test.

This file decides how a replay is cut into spans and what goes into the result. The replay itself is compiled code of
the learner; Python is entered once per span. The steps for each event are decided before, in
`stream.evaluation.protocol`, and the value of a rank is decided after, in `stream.evaluation.measures.metrics`. The
clock is an argument, so this file reads none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.measures import metrics
from stream.evaluation.measures.ranks import count_ranks
from stream.evaluation.measures.result import BLEND, Evaluation, TestedEvents
from stream.evaluation.measures.significance import compare_tests
from stream.evaluation.protocol import Action, EvaluationProtocol, Plan, WrongInput, plan
from stream.evaluation.replay.history import History
from stream.evaluation.replay.latency import Clock, LatencyProbe
from stream.evaluation.replay.learner import Learner, SpanOutcomes
from stream.evaluation.replay.notes import notes_on_values
from stream.evaluation.replay.own_source import OwnBlend, OwnSource, own_ranks
from stream.models.settings import ModelSettings

MAX_SPANS = 200
"""Most spans of a replay: returns to Python for the progress bar and, with shards, for a fresh merge."""
MIN_SPAN_EVENTS = 500

Progress = Callable[[int, int, SpanOutcomes, Sequence[str]], None]
"""Called after each span with events done, events in all, the tests of the span, and the names of what ranked."""


def evaluate(
    history: History,
    protocol: EvaluationProtocol | None = None,
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
        history: the events, in file order.
        protocol: which events are tested; by default by user if the history has users, with a fifth of it as warm-up.
        settings: settings of the model, the default ones if not given; `repeats` and `seed` follow the protocol.
        learner: what to evaluate instead of the model.
        own_sources: further sources in plain Python that score the candidates of each test. They are judged alone and,
            among the challengers, in a blend with the model (`stream.evaluation.replay.own_source`).
        shards: number of shards as which the model learns.
        clock: rising seconds, such as `time.perf_counter`; without one nothing is timed.
        progress: called after each span.

    Raises:
        WrongInput: the history can't be evaluated under this protocol.
    """
    protocol = protocol or EvaluationProtocol(by=history.default_by)
    visitor = history.visitor(protocol.by)
    chosen = (settings or ModelSettings()).model_copy(
        update={"repeats": "first" if protocol.no_repeats else "all", "seed": protocol.seed}
    )
    try:
        steps = plan(
            visitor=visitor.codes,
            item=history.data.item.codes,
            kind=history.data.event.codes,
            kinds=history.data.event.names,
            time=history.data.seconds,
            protocol=protocol,
            kind_weights=chosen.weights,
            value_weights=history.value_weights(chosen.scale),
            aggregate=history.data.aggregate,
        )
    except WrongInput as error:  # what is doubtful in the file may be why
        raise WrongInput("\nnote: ".join([str(error), *history.notes])) from None
    if not steps.frozen:
        steps = replace(steps, weights=steps.weights * history.quantity_weights(chosen.quantity_exponent))
    values = notes_on_values(history.data, history.is_rating, chosen.weights, chosen.scale)
    steps = replace(steps, notes=[*history.notes, *values, *steps.notes])
    model = learner or _default_learner(history, protocol, chosen, steps, shards)
    started = clock() if clock else 0.0
    latency = LatencyProbe(model, steps, clock)
    spans, ranks_by_own = [], []
    own_blend = OwnBlend(own_sources)
    learned = (steps.actions & Action.LEARN) > 0
    for start, stop in _spans(len(history), latency.events):
        latency.measure(start)
        span = model.replay(start, stop, steps.actions, top=max(protocol.cutoffs), export=bool(own_sources))
        if own_sources:
            data, blend = history.data, list(model.names).index(BLEND)
            ranks = own_ranks(
                own_sources, own_blend, list(_exported(span, blend)), visitor.codes, data.item.codes, data.seconds,
                learned=learned, span=(start, stop),
            )  # fmt: skip
            ranks_by_own.append(ranks)
        spans.append(span._replace(offsets=None, candidate=None, scores=None))
        if progress:
            progress(stop, len(history), span, model.names)
    seconds = clock() - started - latency.spent_seconds if clock else None
    tests = _gathered(tuple(model.names), spans)
    challengers = tuple(model.challengers)
    if own_sources:
        names = [*(own.name for own in own_sources), own_blend.name]
        for name, column in zip(names, np.concatenate(ranks_by_own).T, strict=True):
            tests = tests.with_source(name, column)
        challengers += (own_blend.name,)
    sharding = None
    if shards > 1:
        sharding = _sharding_cost(evaluate(history, protocol, settings, learner=None), tests, shards)
    return Evaluation(
        stream=history.name,
        protocol=protocol,
        plan=steps,
        tests=tests,
        visitor=visitor.codes,
        item=history.data.item.codes,
        time=history.data.seconds,
        items=len(np.unique(history.data.item.codes)),
        settings=chosen.model_dump(mode="json", exclude={"visitor_salt"}),
        sharding=sharding,
        model_metrics=model.model_metrics(),
        challengers=challengers,
        seconds=seconds,
        test_microseconds=latency.median_microseconds,
    )


def _default_learner(
    history: History, protocol: EvaluationProtocol, settings: ModelSettings, steps: Plan, shards: int
) -> Learner:
    from stream.evaluation.replay.factory import build_learner  # compiles or loads the kernels of the model

    return build_learner(history, protocol, settings, steps, shards=shards)


def _sharding_cost(one: Evaluation, tests: TestedEvents, shards: int) -> dict[str, Any]:
    """Hit rate of several shards beside that of one shard on the same tests, as JSON."""
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
    """Spans that cover all events; one begins at each of `also`."""
    count = max(1, min(MAX_SPANS, events // MIN_SPAN_EVENTS))
    edges = {*np.linspace(0, events, count + 1).astype(int).tolist(), *also}
    return pairwise(sorted(edges))


def _exported(span: SpanOutcomes, ranking: int) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.float32]]]:
    """Event, candidates, and scores by one ranking, of each test."""
    assert span.offsets is not None
    assert span.candidate is not None
    assert span.scores is not None
    for test, event in enumerate(span.event.tolist()):
        part = slice(span.offsets[test], span.offsets[test + 1])
        yield event, span.candidate[part], span.scores[part, ranking]


def _gathered(names: tuple[str, ...], spans: Sequence[SpanOutcomes]) -> TestedEvents:
    """The tests of all spans as one set of columns."""

    def all_of(field: str) -> Any:
        return np.concatenate([getattr(span, field) for span in spans])

    return TestedEvents(
        names=names,
        event=all_of("event"),
        ranks=count_ranks(all_of("greater"), all_of("equal"), all_of("found")[:, None]),
        candidates=all_of("candidates"),
        fallback=all_of("fallback"),
        top=all_of("top"),
    )
