"""Quality targets of the default configuration on known streams, for `corrente quality`.

This file decides on which streams the default configuration is judged, under which protocol, and which figures it
must reach. The files are the user's own (licences differ, and none comes with the project); streams whose file is
missing are left out, and the table says so.
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
from stream.evaluation.protocol import EvaluationProtocol, WrongInput
from stream.evaluation.replay.history import History, load
from stream.evaluation.report.tables import probability


@dataclass(frozen=True)
class QualityTarget:
    """One stream, the protocol it is tested under, and the figures it must reach.

    Attributes:
        name: name of the stream.
        file: its file in the folder.
        required: figures to reach, by measure (`hr`, `mrr`), at the first cut-off.
        desired: figures that would be better still.
        events: kinds of events to keep; all if None.
        by, no_repeats, warmup, every, exclude_last, cutoffs: as in `EvaluationProtocol`.
        sharded_every: the cost of shards is measured on one of this many tests; 0 = not on this stream.
    """

    name: str
    file: str
    by: Literal["user", "session"]
    required: dict[str, float]
    desired: dict[str, float]
    events: tuple[str, ...] | None = None
    no_repeats: bool = False
    warmup: float = 0.2
    every: int = 1
    exclude_last: bool = False
    cutoffs: tuple[int, ...] = (10, 20)
    sharded_every: int = 0

    def history(self, folder: Path) -> History:
        """Read the stream from a folder."""
        return load(folder / self.file, events=self.events)

    def protocol(self, seed: int = 0) -> EvaluationProtocol:
        """The protocol under which the stream is tested."""
        return EvaluationProtocol(
            by=self.by,
            no_repeats=self.no_repeats,
            warmup=self.warmup,
            every=self.every,
            exclude_last=self.exclude_last,
            cutoffs=self.cutoffs,
            seed=seed,
        )

    def command(self, folder: str = "DATA") -> str:
        """The command that evaluates this stream alone."""
        words = [f"corrente evaluate {folder}/{self.file} --by {self.by}"]
        words += [f"--events {','.join(self.events)}"] if self.events else []
        words += ["--no-repeats"] if self.no_repeats else []
        words += [f"--warmup {self.warmup:g}"] if self.warmup != 0.2 else []
        words += [f"--every {self.every}"] if self.every > 1 else []
        words += ["--exclude-last"] if self.exclude_last else []
        return " ".join([*words, f"--k {','.join(map(str, self.cutoffs))}"])


SESSION_CUTOFFS = (20, 10)

TARGETS = (
    QualityTarget(
        "ml100k r5", "ml100k.tsv.gz", "user", {"hr": 0.187}, {"hr": 0.195},
        events=("r5",), no_repeats=True, warmup=0.3, sharded_every=1,
    ),
    QualityTarget(
        "ml100k r4,r5", "ml100k.tsv.gz", "user", {"hr": 0.197}, {"hr": 0.205},
        events=("r4", "r5"), no_repeats=True, warmup=0.3,
    ),
    QualityTarget(
        "online_retail", "online_retail.tsv.gz", "user", {"hr": 0.331}, {"hr": 0.340},
        events=("purchase",), no_repeats=True,
    ),
    QualityTarget(
        "seq_diginetica", "seq_diginetica.tsv.gz", "session",
        {"hr": 0.526, "mrr": 0.192}, {"hr": 0.535, "mrr": 0.200}, every=5, cutoffs=SESSION_CUTOFFS,
        sharded_every=40,
    ),
    QualityTarget(
        "diginetica_split", "diginetica_split.tsv.gz", "session",
        {"hr": 0.542, "mrr": 0.195}, {"hr": 0.555, "mrr": 0.205}, cutoffs=SESSION_CUTOFFS,
    ),
    QualityTarget(
        "serenade_example", "serenade_example.tsv.gz", "session",
        {"hr": 0.670, "mrr": 0.370}, {"hr": 0.69, "mrr": 0.39}, exclude_last=True, cutoffs=SESSION_CUTOFFS,
    ),
    QualityTarget(
        "globo_first72h", "globo_first72h.tsv.gz", "session", {"hr": 0.665}, {"hr": 0.685},
        no_repeats=True, every=20,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class TargetResult:
    """The result on one stream beside its target."""

    target: QualityTarget
    result: Evaluation

    @property
    def reached(self) -> dict[str, float]:
        """Figures reached, by measure, at the first cut-off."""
        return {
            measure: self.result.figures[BLEND][measure][str(self.result.cutoff)] for measure in self.target.required
        }

    @property
    def passed(self) -> bool:
        """True if every required figure is reached."""
        return all(self.reached[measure] >= least for measure, least in self.target.required.items())

    @property
    def over_best_source(self) -> Difference | None:
        """Paired difference in hit rate of the blend and the best source; None without sources."""
        return self.result.compare() if self.result.sources else None

    def report(self) -> dict[str, Any]:
        """The JSON contract of `corrente quality --json`, for one stream."""
        difference = self.over_best_source
        return {
            "n": len(self.result.tests),
            "reached": self.reached,
            "must": self.target.required,
            "go_for": self.target.desired,
            "passed": self.passed,
            "best_source": self.result.sources[0] if self.result.sources else None,
            "over_best_source": None if difference is None else difference_report(difference),
            "sharding": self.result.sharding,
            "seconds": self.result.seconds,
            "test_microseconds": self.result.test_microseconds,
            "command": self.target.command(),
        }


def targets_in(folder: Path, only: Sequence[str] | None = None) -> list[QualityTarget]:
    """The targets whose files are in a folder.

    Args:
        folder: the folder with the files.
        only: beginnings of the names of the wanted streams; all streams if None.

    Raises:
        WrongInput: there is no such folder, no such name, or none of the files.
    """
    if not folder.is_dir():
        raise WrongInput(f"{folder}: there is no such folder")
    known = [target.name for target in TARGETS]
    for name in only or []:
        if not any(target.name.startswith(name) for target in TARGETS):
            raise WrongInput(f"no stream is called {name!r}; there are {', '.join(known)}")
    wanted = [target for target in TARGETS if not only or any(target.name.startswith(name) for name in only)]
    present = [target for target in wanted if (folder / target.file).is_file()]
    if not present:
        raise WrongInput(f"{folder}: has none of {', '.join(sorted({target.file for target in wanted}))}")
    return present


def quality_table(rows: Sequence[TargetResult]) -> RenderableType:
    """One table of all streams, followed by the command for each."""
    table = Table(title="default configuration, one for all streams", title_justify="left")
    table.add_column("stream")
    for column in ("tests", "figure", "reached", "SE", "must", "go for", "", "best source", "blend - best", "p"):
        table.add_column(column, justify="right", no_wrap=True)
    for column in ("shards", "s", "µs/test"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        _add(table, row)
    missing = (
        [target for target in TARGETS if target.name not in {row.target.name for row in rows}] if len(rows) > 1 else []
    )
    lines = [f"{row.target.name}: {row.target.command()}" for row in rows] if len(rows) > 1 else []
    lines += [f"{target.name}: not run" for target in missing]
    return Group(table, *(Text(line) for line in lines))


def _add(table: Table, row: TargetResult) -> None:
    """Add one line for each required figure of a stream."""
    result, k = row.result, row.result.cutoff
    difference = row.over_best_source
    for number, (measure, least) in enumerate(row.target.required.items()):
        value = row.reached[measure]
        best = max((result.figures[name][measure][str(k)], name) for name in result.sources) if result.sources else None
        cells = [
            f"{measure.upper()}@{k}",
            f"{value:.4f}",
            f"{result.figures[BLEND]['hr_se'][str(k)]:.4f}" if measure == "hr" else "",
            f"{least:.3f}",
            f"{row.target.desired[measure]:.3f}",
            "short" if value < least else "ok" if value < row.target.desired[measure] else "well",
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
            "" if number else row.target.name, "" if number else f"{len(result.tests):,}", *cells, sharding, *timing
        )
