"""What an evaluation found: every single test, and the figures made from them.

`Evaluation` is what `stream.evaluation.replay.run` returns, in a notebook as on the command line. It holds the tests as
columns, so that any question (a slice, a curve, a paired comparison) is asked of the same tests. `report` is the JSON
contract that scripts read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.evaluation.measures import metrics
from stream.evaluation.measures.ranks import counts_before, earlier_of_same
from stream.evaluation.measures.significance import Difference, compare_tests
from stream.evaluation.protocol import Plan, Protocol

Floats = NDArray[np.float64]

BLEND = "blend"
FALLBACKS = ("personal", "session", "trending", "popular", "newest")
"""How an answer came about, by its code: personal, or which link of the fallback chain."""
MOST_BLOCKS = 200


@dataclass(frozen=True)
class Tests:
    """The tests of a run, as columns in the order of the stream.

    Attributes:
        names: what ranked, for the columns of `ranks`: the sources, the blend, challengers.
        event: int64[t] number of the event in the stream.
        ranks: float64[t, names] rank of the target, infinite for a miss.
        candidates: int32[t] how many items were ranked.
        fallback: uint8[t] index into `FALLBACKS`.
        top: int32[t, k] the blend's list, item codes, padded with -1.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    names: tuple[str, ...]
    event: NDArray[np.int64]
    ranks: Floats
    candidates: NDArray[np.int32]
    fallback: NDArray[np.uint8]
    top: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.event)

    def of(self, name: str) -> Floats:
        """Ranks that one source (or the blend) gave.

        Raises:
            KeyError: there is none of that name.
        """
        if name not in self.names:
            raise KeyError(f"{name!r} ranked nothing here; there are {', '.join(self.names)}")
        return self.ranks[:, self.names.index(name)]

    def with_source(self, name: str, ranks: Floats) -> Tests:
        """These tests with one more source's ranks."""
        if name in self.names:
            raise ValueError(f"there is a source {name!r} already")
        return replace(self, names=(*self.names, name), ranks=np.column_stack([self.ranks, ranks]))


@dataclass(frozen=True, repr=False)
class Evaluation:
    """One evaluated stream.

    Attributes:
        stream: what was read, for titles.
        protocol, plan: how it was tested.
        tests: every test.
        visitor: int[n] whose event each event of the stream is.
        item, time: int[n], float64[n] of the stream's events.
        items: how many different items the stream has.
        settings: of the model.
        challengers: names in `tests` that are neither sources nor the blend.
        sharding: what more than one shard costs, if asked.
        beside: figures of models that rank nothing, as they say them.
        seconds: how long learning and testing took, None without a clock.
        test_microseconds: median time of one test, None without a clock.
    """

    stream: str
    protocol: Protocol
    plan: Plan
    tests: Tests
    visitor: NDArray[np.integer]
    item: NDArray[np.integer]
    time: Floats
    items: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    challengers: tuple[str, ...] = ()
    sharding: Mapping[str, Any] | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    test_microseconds: float | None = None

    @property
    def events(self) -> int:
        return len(self.visitor)

    @property
    def cutoff(self) -> int:
        """The k that curves, slices and comparisons use."""
        return self.protocol.cutoffs[0]

    @property
    def sources(self) -> list[str]:
        """What ranked by itself, best first."""
        own = [name for name in self.tests.names if name != BLEND and name not in self.challengers]
        return sorted(own, key=lambda name: -self.figures[name]["hr"][str(self.cutoff)])

    @cached_property
    def figures(self) -> dict[str, dict[str, dict[str, float]]]:
        """HR, MRR, NDCG and the error of HR, by name and cut-off."""
        return {name: metrics.figures(self.tests.of(name), self.protocol.cutoffs) for name in self.tests.names}

    def measured(self, name: str, measure: str = "hr", k: int | None = None) -> Floats:
        """What each test is worth for one source (or the blend)."""
        return metrics.MEASURES[measure](self.tests.of(name), k or self.cutoff)

    def compare(
        self, ours: str = BLEND, theirs: str | None = None, measure: str = "hr", k: int | None = None
    ) -> Difference:
        """Paired difference of two rankings of the same tests; `theirs` is the best source if not named.

        Picking the best source by the very tests it is then compared on favours that source, never the blend.
        """
        other = theirs or self.sources[0]
        return compare_tests(
            self.measured(ours, measure, k),
            self.measured(other, measure, k),
            self.visitor[self.tests.event],
            seed=self.protocol.seed,
        )

    def beyond_accuracy(self) -> dict[str, Any]:
        """Coverage, novelty and evenness of the blend's lists; answers that were fallbacks or could not be right."""
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
        """Sums over blocks of consecutive tests: a coarse curve, and what two saved results are compared by."""
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
            "beside": dict(self.beside),
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
        """What would otherwise hide behind a figure of 0."""
        known = earlier_of_same(self.item)[self.tests.event] > 0
        if not known.any():
            return ["every tested item was new: nothing could have ranked one, which is why all figures are 0"]
        if not np.isfinite(self.tests.of(BLEND)).any():
            return ["no target was ever among the candidates, although some had been seen before"]
        return []

    def __repr__(self) -> str:
        hit_rate = self.figures[BLEND]["hr"][str(self.cutoff)]
        return f"<Evaluation of {self.stream}: {len(self.tests):,} tests, HR@{self.cutoff} {hit_rate:.4f}>"

    def _repr_html_(self) -> str:
        from stream.evaluation.report.tables import figures_html

        return figures_html(self)


def difference_report(difference: Difference) -> dict[str, Any]:
    """A difference as JSON; an interval that nothing bounds is null."""
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
    """Edges of at most `MOST_BLOCKS` blocks of (almost) equally many tests."""
    blocks = max(1, min(MOST_BLOCKS, tests))
    return np.linspace(0, tests, blocks + 1).astype(np.int64)


def _items_seen_before(item: NDArray[np.integer], tested: NDArray[np.integer]) -> int:
    """Different items before the last test: what could have been shown."""
    return len(np.unique(item[: int(tested[-1])])) if len(tested) else 0
