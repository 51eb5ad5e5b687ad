"""What the default configuration must reach on known streams, and whether it does.

The bars name files, protocols and figures. The files are the user's (licences differ, none comes with the project);
what is missing in a folder is left out and said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from stream.evaluation.measures.result import BLEND, Evaluation, difference_report
from stream.evaluation.measures.significance import Difference
from stream.evaluation.protocol import Protocol, WrongInput
from stream.evaluation.replay.history import History, load
from stream.evaluation.report.tables import probability


@dataclass(frozen=True)
class Bar:
    """One stream, how it is tested, and what must be reached.

    Attributes:
        must: by measure (`hr`, `mrr`), at the first cut-off.
        go_for: what would be better.
        sharded_every: what sharing the events among shards costs is measured on each so-manieth test; 0 = not here.
    """

    name: str
    file: str
    by: Literal["user", "session"]
    must: dict[str, float]
    go_for: dict[str, float]
    events: tuple[str, ...] | None = None
    no_repeats: bool = False
    warmup: float = 0.2
    every: int = 1
    exclude_last: bool = False
    cutoffs: tuple[int, ...] = (10, 20)
    sharded_every: int = 0

    def history(self, folder: Path) -> History:
        return load(folder / self.file, events=self.events)

    def protocol(self, seed: int = 0) -> Protocol:
        return Protocol(
            by=self.by,
            no_repeats=self.no_repeats,
            warmup=self.warmup,
            every=self.every,
            exclude_last=self.exclude_last,
            cutoffs=self.cutoffs,
            seed=seed,
        )

    def command(self, folder: str = "DATA") -> str:
        """What one would type for this stream alone."""
        words = [f"corrente evaluate {folder}/{self.file} --by {self.by}"]
        words += [f"--events {','.join(self.events)}"] if self.events else []
        words += ["--no-repeats"] if self.no_repeats else []
        words += [f"--warmup {self.warmup:g}"] if self.warmup != 0.2 else []
        words += [f"--every {self.every}"] if self.every > 1 else []
        words += ["--exclude-last"] if self.exclude_last else []
        return " ".join([*words, f"--k {','.join(map(str, self.cutoffs))}"])


SESSIONS = (20, 10)

BARS = (
    Bar(
        "ml100k r5", "ml100k.tsv.gz", "user", {"hr": 0.187}, {"hr": 0.195},
        events=("r5",), no_repeats=True, warmup=0.3, sharded_every=1,
    ),
    Bar(
        "ml100k r4,r5", "ml100k.tsv.gz", "user", {"hr": 0.197}, {"hr": 0.205},
        events=("r4", "r5"), no_repeats=True, warmup=0.3,
    ),
    Bar(
        "online_retail", "online_retail.tsv.gz", "user", {"hr": 0.331}, {"hr": 0.340},
        events=("purchase",), no_repeats=True,
    ),
    Bar(
        "seq_diginetica", "seq_diginetica.tsv.gz", "session",
        {"hr": 0.526, "mrr": 0.192}, {"hr": 0.535, "mrr": 0.200}, every=5, cutoffs=SESSIONS,
        sharded_every=40,
    ),
    Bar(
        "diginetica_split", "diginetica_split.tsv.gz", "session",
        {"hr": 0.542, "mrr": 0.195}, {"hr": 0.555, "mrr": 0.205}, cutoffs=SESSIONS,
    ),
    Bar(
        "serenade_example", "serenade_example.tsv.gz", "session",
        {"hr": 0.670, "mrr": 0.370}, {"hr": 0.69, "mrr": 0.39}, exclude_last=True, cutoffs=SESSIONS,
    ),
    Bar(
        "globo_first72h", "globo_first72h.tsv.gz", "session", {"hr": 0.665}, {"hr": 0.685},
        no_repeats=True, every=20,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """A stream beside its bar."""

    bar: Bar
    result: Evaluation

    @property
    def reached(self) -> dict[str, float]:
        """By measure, at the first cut-off."""
        return {measure: self.result.figures[BLEND][measure][str(self.result.cutoff)] for measure in self.bar.must}

    @property
    def passed(self) -> bool:
        return all(self.reached[measure] >= least for measure, least in self.bar.must.items())

    @property
    def over_best_source(self) -> Difference | None:
        return self.result.compare() if self.result.sources else None

    def report(self) -> dict[str, Any]:
        difference = self.over_best_source
        return {
            "n": len(self.result.tests),
            "reached": self.reached,
            "must": self.bar.must,
            "go_for": self.bar.go_for,
            "passed": self.passed,
            "best_source": self.result.sources[0] if self.result.sources else None,
            "over_best_source": None if difference is None else difference_report(difference),
            "sharding": self.result.sharding,
            "seconds": self.result.seconds,
            "test_microseconds": self.result.test_microseconds,
            "command": self.bar.command(),
        }


def bars_of(folder: Path, only: Sequence[str] | None = None) -> list[Bar]:
    """The bars whose files are in a folder.

    Raises:
        WrongInput: there is none, or no bar has one of the names in `only`.
    """
    if not folder.is_dir():
        raise WrongInput(f"{folder}: there is no such folder")
    known = [bar.name for bar in BARS]
    for name in only or []:
        if not any(bar.name.startswith(name) for bar in BARS):
            raise WrongInput(f"no stream is called {name!r}; there are {', '.join(known)}")
    wanted = [bar for bar in BARS if not only or any(bar.name.startswith(name) for name in only)]
    present = [bar for bar in wanted if (folder / bar.file).is_file()]
    if not present:
        raise WrongInput(f"{folder}: has none of {', '.join(sorted({bar.file for bar in wanted}))}")
    return present


def judged(bar: Bar, result: Evaluation) -> Judged:
    """A result beside its bar."""
    return Judged(bar, result)


def quality_table(rows: Sequence[Judged]) -> RenderableType:
    """The table of all streams, and the command for each."""
    table = Table(title="default configuration, one for all streams", title_justify="left")
    table.add_column("stream")
    for column in ("tests", "figure", "reached", "SE", "must", "go for", "", "best source", "blend - best", "p"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("shards", "s", "µs/test"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        _add(table, row)
    missing = [bar for bar in BARS if bar.name not in {row.bar.name for row in rows}] if len(rows) > 1 else []
    lines = [f"{row.bar.name}: {row.bar.command()}" for row in rows] if len(rows) > 1 else []
    lines += [f"{bar.name}: not run" for bar in missing]
    return Group(table, *(Text(line) for line in lines))


def _add(table: Table, row: Judged) -> None:
    result, k = row.result, row.result.cutoff
    difference = row.over_best_source
    for number, (measure, least) in enumerate(row.bar.must.items()):
        value = row.reached[measure]
        best = max((result.figures[name][measure][str(k)], name) for name in result.sources) if result.sources else None
        cells = [
            f"{measure.upper()}@{k}",
            f"{value:.4f}",
            f"{result.figures[BLEND]['hr_se'][str(k)]:.4f}" if measure == "hr" else "",
            f"{least:.3f}",
            f"{row.bar.go_for[measure]:.3f}",
            "short" if value < least else "ok" if value < row.bar.go_for[measure] else "well",
            "-" if best is None else f"{best[1]} {best[0]:.4f}",
            "-" if best is None else f"{value - best[0]:+.4f}",
            ""
            if number or difference is None or difference.p is None
            else probability(difference.p).removeprefix("p = "),
        ]
        sharding = "" if number or not result.sharding else f"{-result.sharding['hr_cost']:+.4f}"
        timing = ["", ""]
        if not number and result.seconds is not None:
            timing = [f"{result.seconds:.0f}", f"{result.test_microseconds or 0:.0f}"]
        table.add_row(
            "" if number else row.bar.name, "" if number else f"{len(result.tests):,}", *cells, sharding, *timing
        )
