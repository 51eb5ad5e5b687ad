"""The command `python -m benchmarks.neural FILE`: the options of `corrente evaluate`, and those of the networks.

This file decides the options and what is printed where: progress goes to standard error, the result to standard output,
and with `--json` the last line is one JSON object. Exit code 2 means wrong input, no PyTorch, or training that
diverged.
"""

from __future__ import annotations

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.neural.networks import NETWORKS, MissingTorch, NetworkSettings, device_of, import_torch
from benchmarks.neural.ranking import Diverged
from stream.evaluation.cli import Columns, Cutoffs, Events, Every, ExcludeLast, Kind, NoRepeats, Seed, Warmup
from stream.evaluation.protocol import EvaluationProtocol, WrongInput
from stream.evaluation.replay.history import load

DEFAULTS = NetworkSettings()
HOUR_SECONDS = 3_600.0

app = typer.Typer(add_completion=False)


class Network(StrEnum):
    """The networks that can be compared."""

    GRU = "gru"
    SASREC = "sasrec"


class Column(StrEnum):
    """The columns that name a visitor."""

    USER = "user"
    SESSION = "session"


class Device(StrEnum):
    """Devices to train on."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@app.command()
def neural(
    path: Annotated[Path, typer.Argument(help="TSV, CSV or JSONL, plain or gzipped, in the order of time.")],
    by: Annotated[
        Column | None, typer.Option(help="The visitor: `user` or `session`. The user if the file names users.")
    ] = None,
    events: Events = None,
    no_repeats: NoRepeats = False,
    warmup: Warmup = 0.2,
    every: Every = 1,
    exclude_last: ExcludeLast = False,
    k: Cutoffs = "10,20",
    seed: Seed = 0,
    column: Columns = None,
    kind: Kind = None,
    network: Annotated[
        list[Network] | None, typer.Option(help="A network to compare; can be repeated. All by default.")
    ] = None,
    popular_only: Annotated[bool, typer.Option("--popular-only", help="No network: needs no PyTorch.")] = False,
    window_hours: Annotated[
        float, typer.Option(help="Train anew after this many hours of the stream; a frozen split is trained once.")
    ] = 24.0,
    context: Annotated[
        Column | None, typer.Option(help="The column whose earlier events a network sees. The visitor by default.")
    ] = None,
    dimensions: Annotated[int, typer.Option(min=1, help="Size of embeddings and states.")] = DEFAULTS.dimensions,
    length: Annotated[int, typer.Option(min=2, help="Most items of a sequence.")] = DEFAULTS.length,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training rows.")] = DEFAULTS.epochs,
    batch: Annotated[int, typer.Option(min=1, help="Rows of one step.")] = DEFAULTS.batch,
    rate: Annotated[float, typer.Option(min=0, help="Learning rate of Adam.")] = DEFAULTS.rate,
    dropout: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share that is dropped in training.")
    ] = DEFAULTS.dropout,
    threads: Annotated[int, typer.Option(min=0, help="Threads on the CPU; 0 = PyTorch's choice.")] = DEFAULTS.threads,
    device: Annotated[Device, typer.Option(help="`auto` is a GPU if there is one.")] = Device.AUTO,
    blend: Annotated[bool, typer.Option(help="Also run the default configuration of Corrente.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object as the last line.")] = False,
) -> None:
    """Train neural models on a file and compare them with Corrente, test by test."""
    from benchmarks.neural.comparison import compare

    networks = [] if popular_only else [each.value for each in network or [Network(name) for name in NETWORKS]]
    settings = NetworkSettings(
        dimensions, length, epochs, batch, rate, dropout, seed=seed, threads=threads, device=device.value
    )
    try:
        if dimensions % settings.heads:
            raise WrongInput(f"--dimensions {dimensions}: a multiple of {settings.heads}, the heads of attention")
        trained_by = {"torch": import_torch().__version__, "device": device_of(settings)} if networks else {}
        history = load(path, events=_words(events), columns=_column_names(column), kind=kind)
        protocol = EvaluationProtocol(
            by=by.value if by else history.default_by,
            no_repeats=no_repeats,
            warmup=warmup,
            every=every,
            exclude_last=exclude_last,
            cutoffs=_cutoffs(k),
            seed=seed,
        )
        _progress(f"{path.name}: {len(history):,} events, seed {seed}")
        report = compare(
            history,
            protocol,
            networks,
            settings,
            window_seconds=window_hours * HOUR_SECONDS,
            context=context.value if context else None,
            blend=blend,
            progress=_progress,
        )
    except (WrongInput, MissingTorch, Diverged) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    report |= {"trained_by": trained_by}
    print(table_of(report))
    if as_json:
        print(json.dumps(report, ensure_ascii=False, allow_nan=False))


def table_of(report: dict[str, Any]) -> str:
    """Figures of all rankings at the first two cut-offs, best last, with standard errors, as text."""
    cutoffs = [str(k) for k in report["protocol"]["cutoffs"][:2]]
    rankings = report["rankings"]
    heads = [f"{measure}@{k}" for k in cutoffs for measure in ("HR", "MRR")]
    lines = [
        f"{report['stream']}: {report['n']:,} tests, seed {report['protocol']['seed']}",
        f"{'':<10}" + "".join(f"{head:>18}" for head in heads),
    ]
    for name, ranking in sorted(rankings.items(), key=lambda pair: pair[1]["figures"]["hr"][cutoffs[0]]):
        found = ranking["figures"]
        cells = [
            f"{found[measure][k]:.4f} ({found[f'{measure}_se'][k]:.4f})" for k in cutoffs for measure in ("hr", "mrr")
        ]
        lines.append(f"{name:<10}" + "".join(f"{cell:>18}" for cell in cells))
    if any("training" in ranking for ranking in rankings.values()):
        lines.append("a network's epoch was chosen by its hit rate on these very tests, which favours it")
    return "\n".join(lines)


def main() -> None:
    """Run the command."""
    app(prog_name="python -m benchmarks.neural")


def _progress(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _words(text: str | None) -> list[str] | None:
    return None if text is None else [word.strip() for word in text.split(",") if word.strip()]


def _cutoffs(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text) or [])
    except ValueError:
        raise WrongInput(f"--k {text!r}: whole numbers separated by commas, such as 10,20") from None


def _column_names(pairs: list[str] | None) -> dict[str, str]:
    names = {}
    for pair in pairs or []:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise WrongInput(f"--column {pair!r}: our column=yours, such as item=product_id")
        names[ours] = theirs
    return names
