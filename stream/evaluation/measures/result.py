"""The result of an evaluation: every single test as columns, and the figures made from them.

This file decides what an `Evaluation` holds and what the JSON report of `corrente evaluate --json` says, which scripts
rely on. Any question (a slice, a curve, a paired comparison) is asked of the same tests. Tables, notebook output and
plots are made from a result in `stream.evaluation.report`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.measures import metrics
from stream.evaluation.measures.prior_counts import counts_before, earlier_of_same
from stream.evaluation.measures.significance import Difference, compare_tests
from stream.evaluation.protocol import EvaluationProtocol, Plan

Floats = NDArray[np.float64]

BLEND = "blend"
"""Name of the ranking that orders the list, in `TestedEvents.names` and in every report."""
FALLBACKS = ("personal", "session", "trending", "popular", "newest")
"""Origin of an answer, by its code: personal, or the link of the fallback chain that gave it."""
MAX_BLOCKS = 200


@dataclass(frozen=True)
class TestedEvents:
    """The tests of a run, as columns in the order of the stream.

    Attributes:
        names: what ranked, one name for each column of `ranks`: the sources, the blend, challengers.
        event: int64[t], number of the event in the stream.
        ranks: float64[t, names], rank of the target, infinite for a miss.
        candidates: int32[t], number of items that were ranked.
        fallback: uint8[t], index into `FALLBACKS`.
        top: int32[t, k], the blend's list as item codes, padded with -1.
    """

    __test__ = False  # pytest takes every class whose name starts with Test for a test case

    names: tuple[str, ...]
    event: NDArray[np.int64]
    ranks: Floats
    candidates: NDArray[np.int32]
    fallback: NDArray[np.uint8]
    top: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.event)

    def of(self, name: str) -> Floats:
        """Ranks by one source, the blend or a challenger.

        Raises:
            KeyError: nothing of that name has ranked.
        """
        if name not in self.names:
            raise KeyError(f"{name!r} ranked nothing here; there are {', '.join(self.names)}")
        return self.ranks[:, self.names.index(name)]

    def with_source(self, name: str, ranks: Floats) -> TestedEvents:
        """Return these tests with the ranks of one more source.

        Raises:
            ValueError: there is a source of that name already.
        """
        if name in self.names:
            raise ValueError(f"there is a source {name!r} already")
        return replace(self, names=(*self.names, name), ranks=np.column_stack([self.ranks, ranks]))


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The result of evaluating one stream.

    Attributes:
        stream: name of the stream, for titles.
        protocol, plan: the rules, and what they meant for each event.
        tests: every test.
        visitor: int[n], code of the visitor of each event of the stream.
        item, time: int[n] and float64[n], item code and seconds of each event.
        items: number of different items in the stream.
        settings: settings of the model.
        challengers: names in `tests` that are neither sources nor the blend.
        sharding: the cost of more than one shard, if it was measured.
        model_metrics: figures of the models that order no list (conversion, ratings), as those models report them.
        seconds: duration of learning and testing; None without a clock.
        test_microseconds: median duration of one test; None without a clock.
    """

    stream: str
    protocol: EvaluationProtocol
    plan: Plan
    tests: TestedEvents
    visitor: NDArray[np.integer]
    item: NDArray[np.integer]
    time: Floats
    items: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    challengers: tuple[str, ...] = ()
    sharding: Mapping[str, Any] | None = None
    model_metrics: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    test_microseconds: float | None = None

    @property
    def events(self) -> int:
        """Number of events in the stream."""
        return len(self.visitor)

    @property
    def cutoff(self) -> int:
        """The k that curves, slices and comparisons use."""
        return self.protocol.cutoffs[0]

    @property
    def sources(self) -> list[str]:
        """Names of the single sources, best first."""
        own = [name for name in self.tests.names if name != BLEND and name not in self.challengers]
        return sorted(own, key=lambda name: -self.figures[name]["hr"][str(self.cutoff)])

    @cached_property
    def figures(self) -> dict[str, dict[str, dict[str, float]]]:
        """HR, MRR, NDCG and the standard error of HR, by name and cut-off: `figures["blend"]["hr"]["10"]`."""
        return {name: metrics.figures(self.tests.of(name), self.protocol.cutoffs) for name in self.tests.names}

    def measured(self, name: str, measure: str = "hr", k: int | None = None) -> Floats:
        """Value of each test for one ranking: hit, reciprocal rank or gain at `k`, by default the first cut-off."""
        return metrics.MEASURES[measure](self.tests.of(name), k or self.cutoff)

    def compare(
        self, ours: str = BLEND, theirs: str | None = None, measure: str = "hr", k: int | None = None
    ) -> Difference:
        """Paired difference of two rankings of the same tests; `theirs` is the best source by default.

        The best source is picked by the very tests on which it is then compared, which favours that source and never
        the blend.
        """
        other = theirs or self.sources[0]
        return compare_tests(
            self.measured(ours, measure, k),
            self.measured(other, measure, k),
            self.visitor[self.tests.event],
            seed=self.protocol.seed,
        )

    def beyond_accuracy(self) -> dict[str, Any]:
        """Coverage, novelty and evenness of the blend's lists, and shares of fallbacks and of unreachable targets."""
        tests, lists = self.tests, self.tests.top[:, : self.cutoff]
        places = np.repeat(tests.event, lists.shape[1])
        known_by_then = _items_seen_before(self.item, tests.event)
        target_age = earlier_of_same(self.item)[tests.event]
        missed = ~np.isfinite(tests.of(BLEND))
        return {
            "coverage": metrics.coverage(lists, known_by_then),
            "novelty_bits": metrics.novelty(
                lists, counts_before(self.item, places, lists.ravel()).reshape(lists.shape), tests.event
            ),
            "gini": metrics.gini(lists, self.items),
            "fallback_share": float((tests.fallback > 0).mean()),
            "fallbacks": {name: float((tests.fallback == code).mean()) for code, name in enumerate(FALLBACKS) if code},
            "new_target_share": float((target_age == 0).mean()),
            "not_candidate_share": float((missed & (target_age > 0)).mean()),
            "candidates": float(tests.candidates.mean()),
        }

    def blocks(self) -> dict[str, Any]:
        """Sums over blocks of consecutive tests: a coarse curve, and the units by which saved results are compared."""
        edges = block_edges(len(self.tests))
        sums: dict[str, Any] = {}
        for name in self.tests.names:
            measures = metrics.MEASURES if name == BLEND else {"hr": metrics.hits}
            sums[name] = {
                measure: {
                    str(k): np.add.reduceat(self.measured(name, measure, k), edges[:-1]).round(4).tolist()
                    for k in self.protocol.cutoffs
                }
                for measure in measures
            }
        return {
            "tests": np.diff(edges).tolist(),
            "last_event": self.tests.event[edges[1:] - 1].tolist(),
            "sums": sums,
        }

    def report(self) -> dict[str, Any]:
        """The JSON contract of `corrente evaluate --json`."""
        figures = self.figures
        versus = {}
        for measure in ("hr", "mrr"):
            if self.sources:
                best = max(self.sources, key=lambda name: figures[name][measure][str(self.cutoff)])
                difference = self.compare(theirs=best, measure=measure)
                versus[f"{measure}@{self.cutoff}"] = {"source": best, **difference_report(difference)}
        return {
            "n": len(self.tests),
            "blend": figures[BLEND],
            "sources": {name: figures[name] for name in self.sources},
            "challengers": {name: figures[name] for name in self.challengers},
            "versus_best_source": versus,
            **self.beyond_accuracy(),
            "events": self.events,
            "learned": int((self.plan.actions & 1).sum()),
            "events_per_second": None if not self.seconds else self.events / self.seconds,
            "test_microseconds": self.test_microseconds,
            "seconds": self.seconds,
            "sharding": self.sharding,
            "beside": dict(self.model_metrics),
            "stream": self.stream,
            "protocol": {
                "by": self.protocol.by,
                "no_repeats": self.protocol.no_repeats,
                "warmup": self.protocol.warmup,
                "every": self.protocol.every,
                "exclude_last": self.protocol.exclude_last,
                "k": list(self.protocol.cutoffs),
                "seed": self.protocol.seed,
                "frozen_split": self.plan.frozen,
            },
            "settings": dict(self.settings),
            "notes": self.plan.notes + self.warnings(),
            "blocks": self.blocks(),
        }

    def warnings(self) -> list[str]:
        """Explanations of figures that are 0 because no target could be ranked."""
        known = earlier_of_same(self.item)[self.tests.event] > 0
        if not known.any():
            return ["every tested item was new: nothing could have ranked one, which is why all figures are 0"]
        if not np.isfinite(self.tests.of(BLEND)).any():
            return ["no target was ever among the candidates, although some had been seen before"]
        return []

    def __repr__(self) -> str:
        hit_rate = self.figures[BLEND]["hr"][str(self.cutoff)]
        return f"<Evaluation of {self.stream}: {len(self.tests):,} tests, HR@{self.cutoff} {hit_rate:.4f}>"


def difference_report(difference: Difference) -> dict[str, Any]:
    """A difference as JSON. An interval without bounds becomes null."""
    bounded = difference.p is not None
    return {
        "difference": difference.difference,
        "low": difference.low if bounded else None,
        "high": difference.high if bounded else None,
        "p": difference.p,
        "more_than_noise": not difference.is_noise,
        "only_blend": difference.only_ours,
        "only_source": difference.only_theirs,
        "method": difference.method,
    }


def block_edges(tests: int) -> NDArray[np.int64]:
    """Edges of at most `MAX_BLOCKS` blocks of almost equally many tests."""
    blocks = max(1, min(MAX_BLOCKS, tests))
    return np.linspace(0, tests, blocks + 1).astype(np.int64)


def _items_seen_before(item: NDArray[np.integer], tested: NDArray[np.integer]) -> int:
    """Number of different items before the last test: those that could have been shown."""
    return len(np.unique(item[: int(tested[-1])])) if len(tested) else 0
