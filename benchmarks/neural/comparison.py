"""One comparison: neural models, the most popular items and the default configuration on the same tests.

This file decides how a network is judged. After every epoch all tests of the round are ranked, and the epoch with the
highest hit rate *on these tests* counts. This choice sees the answers, which favours the networks; the last epoch is
reported beside it. A visitor without a known earlier item gets the most popular items of the newest window. The default
configuration (`stream.evaluation`) chooses nothing by the tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.neural.networks import NetworkSettings, train
from benchmarks.neural.ranking import full_ranks, popularity
from benchmarks.neural.sequences import Sequences, contexts_of, earlier_items, number_items, sequences_of, training_rows
from benchmarks.neural.windows import DAY_SECONDS, Round, rounds_of
from stream.evaluation.measures import metrics
from stream.evaluation.measures.result import BLEND, difference_report
from stream.evaluation.measures.significance import compare_tests
from stream.evaluation.protocol import EvaluationProtocol, Plan, plan
from stream.evaluation.replay.history import History
from stream.evaluation.replay.run import evaluate
from stream.models.settings import ModelSettings

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]

POPULAR = "popular"
"""Name of the ranking by popularity in the newest window, which also answers visitors without a context."""
SCORED_AT_ONCE = 256


@dataclass
class Standing:
    """The ranks of one ranking over all rounds.

    Attributes:
        best: ranks of each round at its best epoch.
        last: ranks of each round after the last epoch.
        epochs: one object for each round, with its epochs.
    """

    best: list[Floats] = field(default_factory=list)
    last: list[Floats] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class PreparedRound:
    """One round as numbers.

    Attributes:
        number: int64[n], number of each event's item, 0 for one that training doesn't see.
        items: count of numbered items.
        rows: items to train on, and what follows each of them.
        contexts: (tests, length) known items before each test.
        popular: (items + 1,) popularity in the newest window.
    """

    number: Numbers
    items: int
    rows: tuple[Numbers, Numbers]
    contexts: Numbers
    popular: Floats


def compare(
    history: History,
    protocol: EvaluationProtocol,
    networks: Sequence[str],
    settings: NetworkSettings,
    *,
    window_seconds: float = DAY_SECONDS,
    context: Literal["user", "session"] | None = None,
    blend: bool = True,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Compare neural models on a history; the result is one JSON object.

    Args:
        history: the events, in file order.
        protocol: which events are tested, as in `corrente evaluate`.
        networks: names out of `benchmarks.neural.networks.NETWORKS`; none compares popularity alone.
        settings: sizes and training of the networks.
        window_seconds: duration of a window, if the stream is no frozen split.
        context: the column whose earlier events are a network's context; the visitor of the protocol by default.
        blend: also run the default configuration of Corrente.
        progress: called with one line of text for each step.

    Raises:
        WrongInput: the history can't be tested under this protocol.
        MissingTorch: PyTorch isn't installed, and a network is wanted.
    """
    steps = _plan_of(history, protocol)
    rounds = rounds_of(steps, history.data.seconds, window_seconds)
    visitors = sequences_of(history.visitor(protocol.by).codes)
    contexts = visitors if context in (None, protocol.by) else sequences_of(history.visitor(context).codes)
    standings = {name: Standing() for name in (POPULAR, *networks)}
    described = []
    for each in rounds:
        prepared = prepare(history.data.item.codes, each, contexts, settings.length)
        fallback = round_ranks(prepared, each, visitors, protocol, None)
        standings[POPULAR].best.append(fallback)
        standings[POPULAR].last.append(fallback)
        described.append(_description(each, prepared))
        progress(f"{each.name}: {len(prepared.rows[0]):,} training rows, {len(each.tests):,} tests")
        for name in networks:
            _judge(name, standings[name], each, prepared, visitors, protocol, settings, progress)
    tests = np.concatenate([each.tests for each in rounds])
    report = {
        "stream": history.name,
        "n": len(tests),
        "tests_before_second_window": len(steps.tested) - len(tests),
        "protocol": {**asdict(protocol), "cutoffs": list(protocol.cutoffs), "frozen_split": steps.frozen},
        "window_seconds": None if steps.frozen else window_seconds,
        "context": context or protocol.by,
        "settings": asdict(settings),
        "rounds": described,
        "rankings": {name: _standing_report(standing, protocol.cutoffs) for name, standing in standings.items()},
    }
    if blend:
        progress("the default configuration")
        _add_blend(report, history, protocol, tests, standings)
    return report


def prepare(item: NDArray[np.int32], each: Round, contexts: Sequences, length: int) -> PreparedRound:
    """Number the items of a round, and make its training rows and contexts.

    Args:
        item: (n,) code of the item of each event.
        each: the round.
        contexts: the events by whose they are a context.
        length: most items of a row and of a context.
    """
    number, items = number_items(item, each.learned)
    return PreparedRound(
        number=number,
        items=items,
        rows=training_rows(contexts, number, readable=each.readable, learned=each.learned, length=length),
        contexts=contexts_of(contexts, number, each.tests, length),
        popular=popularity(number, items, each.recent),
    )


def round_ranks(
    prepared: PreparedRound,
    each: Round,
    visitors: Sequences,
    protocol: EvaluationProtocol,
    score: Callable[[Numbers], NDArray[np.float32]] | None,
) -> Floats:
    """Ranks of all tests of a round by a network's scores; by popularity where there is no context, or no network.

    Raises:
        Diverged: a score is NaN.
    """
    ranks = np.empty(len(each.tests))
    personal = np.flatnonzero(prepared.contexts[:, 0]) if score else np.zeros(0, np.int64)
    others = np.setdiff1d(np.arange(len(each.tests)), personal)
    for chosen in (personal, others):
        for first in range(0, len(chosen), SCORED_AT_ONCE):
            part = chosen[first : first + SCORED_AT_ONCE]
            events = each.tests[part]
            forbidden = (np.zeros(0, np.int64), np.zeros(0, np.int64))
            if protocol.no_repeats or protocol.exclude_last:
                only_last = not protocol.no_repeats
                forbidden = earlier_items(visitors, prepared.number, events, only_last=only_last)
            if score is not None and chosen is personal:
                scores: Any = score(prepared.contexts[part])
            else:
                scores = np.tile(prepared.popular, (len(part), 1))
            ranks[part] = full_ranks(scores, prepared.number[events], forbidden)
    return ranks


def _plan_of(history: History, protocol: EvaluationProtocol) -> Plan:
    """The plan that `corrente evaluate` follows with default settings: the same tests, the same weights."""
    return plan(
        visitor=history.visitor(protocol.by).codes,
        item=history.data.item.codes,
        kind=history.data.event.codes,
        kinds=history.data.event.names,
        time=history.data.seconds,
        protocol=protocol,
        kind_weights=ModelSettings().weights,
        value_weights=history.value_weights(ModelSettings().scale),
        aggregate=history.data.aggregate,
    )


def _judge(
    name: str,
    standing: Standing,
    each: Round,
    prepared: PreparedRound,
    visitors: Sequences,
    protocol: EvaluationProtocol,
    settings: NetworkSettings,
    progress: Callable[[str], None],
) -> None:
    """Train a network for one round, rank the tests after every epoch, and keep the best epoch and the last."""
    cutoff = protocol.cutoffs[0]
    best_rate, epochs = -1.0, []
    best = last = standing.best[:0]
    for epoch in train(name, prepared.rows, prepared.items, settings):
        ranks = round_ranks(prepared, each, visitors, protocol, epoch.score)
        rate = float(metrics.hits(ranks, cutoff).mean())
        mrr = float(metrics.reciprocal_ranks(ranks, cutoff).mean())
        epochs.append(
            {"epoch": epoch.number, "loss": epoch.loss, "hr": rate, "mrr": mrr, "seconds": round(epoch.seconds, 2)}
        )
        progress(
            f"  {name} epoch {epoch.number}: loss {epoch.loss:.3f}, HR@{cutoff} {rate:.4f}, MRR@{cutoff} {mrr:.4f}"
        )
        last = [ranks]
        if rate > best_rate:
            best_rate, best = rate, [ranks]
    standing.best += best
    standing.last += last
    chosen = max(epochs, key=lambda one: one["hr"])["epoch"]
    standing.epochs.append({"round": each.name, "best_epoch": chosen, "epochs": epochs})


def _description(each: Round, prepared: PreparedRound) -> dict[str, Any]:
    """Sizes of a round, as JSON."""
    return {
        "round": each.name,
        "learned_events": int(each.learned.sum()),
        "items": prepared.items,
        "training_rows": len(prepared.rows[0]),
        "tests": len(each.tests),
        "without_context_share": float((~prepared.contexts.any(axis=1)).mean()),
        "unknown_target_share": float((prepared.number[each.tests] == 0).mean()),
    }


def _figures(ranks: Floats, cutoffs: Sequence[int]) -> dict[str, Any]:
    """HR, MRR and NDCG by cut-off, with the standard errors of HR and MRR."""
    found: dict[str, Any] = metrics.figures(ranks, cutoffs)
    reciprocal = {k: metrics.reciprocal_ranks(ranks, k) for k in cutoffs}
    found["mrr_se"] = {str(k): float(values.std() / np.sqrt(len(values))) for k, values in reciprocal.items()}
    return found


def _standing_report(standing: Standing, cutoffs: Sequence[int]) -> dict[str, Any]:
    report = {
        "figures": _figures(np.concatenate(standing.best), cutoffs),
        "by_round": [_figures(ranks, cutoffs) for ranks in standing.best],
    }
    if standing.epochs:
        report["last_epoch"] = _figures(np.concatenate(standing.last), cutoffs)
        report["training"] = standing.epochs
    return report


def _add_blend(
    report: dict[str, Any],
    history: History,
    protocol: EvaluationProtocol,
    tests: Numbers,
    standings: dict[str, Standing],
) -> None:
    """Add the default configuration's figures on the same tests, and its paired differences to each ranking."""
    result = evaluate(history, protocol)
    at = np.searchsorted(result.tests.event, tests)
    assert (result.tests.event[at] == tests).all(), "both sides follow one plan"
    ranks = result.tests.of(BLEND)[at]
    edges = np.cumsum([len(part) for part in standings[POPULAR].best])[:-1]
    report["rankings"][BLEND] = {
        "figures": _figures(ranks, protocol.cutoffs),
        "by_round": [_figures(part, protocol.cutoffs) for part in np.split(ranks, edges)],
    }
    visitor, cutoff = result.visitor[tests], protocol.cutoffs[0]
    report["blend_minus"] = {}
    for name, standing in standings.items():
        theirs = np.concatenate(standing.best)
        report["blend_minus"][name] = {
            f"{measure}@{cutoff}": difference_report(
                compare_tests(value(ranks, cutoff), value(theirs, cutoff), visitor, seed=protocol.seed)
            )
            for measure, value in (("hr", metrics.hits), ("mrr", metrics.reciprocal_ranks))
        }
