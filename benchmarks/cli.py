"""`corrente bench LEG`: a table for people, or with `--json` one JSON object as the last line of standard output.

This file decides the commands, their options and how results and missing programs are reported. What a leg measures is
decided in `benchmarks.legs`.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure speed, beside baselines in the same run.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]
Runs = Annotated[int, typer.Option("--runs", min=1, help="How often everything is measured.")]
Partitions = Annotated[int, typer.Option("--partitions", min=1, max=1024, help="Of each topic.")]
Shards = Annotated[int, typer.Option("--shards", min=1, max=1024, help="That the worker learns them as.")]


@app.callback()
def _bench() -> None:
    """Keep legs as sub-commands, even if there were only one."""


@app.command()
def ingest(
    as_json: AsJson = False,
    runs: Runs = 5,
    events: Annotated[int, typer.Option("--events", min=100_000, help="Events in the topics.")] = 1_600_000,
    slow_events: Annotated[
        int, typer.Option("--slow-events", min=1000, help="Events that the slow baselines take of them.")
    ] = 100_000,
    partitions: Partitions = 4,
    shards: Annotated[
        int | None,
        typer.Option("--shards", min=1, max=1024, help="That the worker learns them as; by default as many."),
    ] = None,
    mapping: Annotated[bool, typer.Option("--mapping", help="Measure a worker with a flat mapping, too.")] = False,
    avro: Annotated[bool, typer.Option("--avro", help="Measure a worker with records in Avro, too.")] = False,
) -> None:
    """Events a second from Kafka to learned tables, everything on, beside topics of one partition."""
    from benchmarks.legs.ingest import measure

    several, more = partitions if shards is None else shards, {"mapping": mapping, "avro": avro}
    _report(lambda progress: measure(runs, events, slow_events, partitions, several, progress, **more), as_json)


@app.command()
def freshness(
    as_json: AsJson = False,
    runs: Runs = 5,
    probes: Annotated[int, typer.Option("--probes", min=10, help="Clicks in each run at each pace.")] = 100,
    partitions: Partitions = 1,
    shards: Shards = 1,
) -> None:
    """From a click in Kafka to the answers that reflect it, under background load."""
    from benchmarks.legs.freshness import measure

    _report(lambda progress: measure(runs, probes, partitions, shards, progress), as_json)


@app.command()
def letters(
    as_json: AsJson = False,
    runs: Runs = 5,
    probes: Annotated[int, typer.Option("--probes", min=10, help="Clicks in each run, with and without.")] = 100,
    count: Annotated[int, typer.Option("--letters", min=10_000, help="Bad records that become letters.")] = 200_000,
) -> None:
    """Bad records to dead letters, and the freshness of good events beside them."""
    from benchmarks.legs.letters import measure

    _report(lambda progress: measure(runs, probes, count, progress), as_json)


@app.command()
def serve(
    as_json: AsJson = False,
    runs: Runs = 5,
    items: Annotated[
        list[int] | None, typer.Option("--items", min=1000, help="Items in the model; may be repeated.")
    ] = None,
    seconds: Annotated[int, typer.Option("--seconds", min=1, help="Of load in each measurement.")] = 2,
    keys: Annotated[
        bool, typer.Option("--keys", help="Instead: a server with keys and limits, beside one without.")
    ] = False,
    batch: Annotated[
        bool, typer.Option("--batch", help="Instead: lists for several visitors in one call, beside bare scoring.")
    ] = False,
) -> None:
    """A whole list over HTTP, beside a bare FastAPI route that returns a constant."""
    from benchmarks.legs.lists.serve import measure, measure_keys

    size = (items or [10_000])[0]
    if batch:
        from benchmarks.legs.lists.batch import measure as measure_batch

        _report(lambda progress: measure_batch(runs, size, seconds, progress), as_json)
        return
    if keys:
        _report(lambda progress: measure_keys(runs, size, seconds, progress), as_json)
        return
    _report(lambda progress: measure(runs, items or [10_000, 100_000, 1_000_000], seconds, progress), as_json)


@app.command()
def filters(
    as_json: AsJson = False,
    runs: Runs = 5,
    items: Annotated[
        int, typer.Option("--items", min=10_000, help="Items in the model and in the catalogue.")
    ] = 1_000_000,
    lists: Annotated[int, typer.Option("--lists", min=100, help="Lists of each kind in each run.")] = 2000,
) -> None:
    """Lists under filters that let through less and less, beside lists without a filter."""
    from benchmarks.legs.catalogue.filters import measure

    _report(lambda progress: measure(runs, items, lists, progress), as_json)


@app.command()
def catalogue(
    as_json: AsJson = False,
    runs: Runs = 3,
    probes: Annotated[int, typer.Option("--probes", min=10, help="Changes in each run.")] = 100,
    processes: Annotated[int, typer.Option("--processes", min=1, help="Processes of the server.")] = 4,
) -> None:
    """From a change of an item to the lists of every server process, with events beside it."""
    from benchmarks.legs.catalogue.changes import measure

    _report(lambda progress: measure(runs, probes, processes, progress), as_json)


@app.command()
def shed(
    as_json: AsJson = False,
    runs: Runs = 5,
    items: Annotated[int, typer.Option("--items", min=1000, help="Items in the model.")] = 10_000,
    seconds: Annotated[int, typer.Option("--seconds", min=2, help="Of load in each measurement.")] = 4,
) -> None:
    """One server process that gets twice the requests that it can answer, beside what it can."""
    from benchmarks.legs.overload.shed import measure

    _report(lambda progress: measure(runs, items, seconds, progress), as_json)


@app.command()
def model(as_json: AsJson = False, runs: Runs = 5) -> None:
    """Learning all sources and answering, in one process."""
    from benchmarks.legs.model import measure

    _report(lambda progress: measure(runs, progress), as_json)


@app.command()
def versions(as_json: AsJson = False, runs: Runs = 5) -> None:
    """Publishing while events flow, bytes of a history of 50 versions, and rollback."""
    from benchmarks.legs.versions import measure

    _report(lambda progress: measure(runs, progress), as_json)


@app.command()
def scale(
    as_json: AsJson = False,
    runs: Runs = 5,
    events: Annotated[int, typer.Option("--events", min=100_000, help="Events in the topics.")] = 2_400_000,
) -> None:
    """More workers, partitions, items and shards, and the memory they take."""
    from benchmarks.legs.scale import measure

    _report(lambda progress: measure(runs, events, progress), as_json)


@app.command()
def memory(
    as_json: AsJson = False,
    minutes: Annotated[int, typer.Option("--minutes", min=2, help="Of live traffic.")] = 30,
) -> None:
    """Memory of a server of one process and of one of four, after minutes of live traffic."""
    from benchmarks.legs.memory import measure

    _report(lambda progress: measure(minutes, progress), as_json)


@app.command()
def aging(
    as_json: AsJson = False,
    visitors: Annotated[int, typer.Option("--visitors", min=1000, help="That the model can remember.")] = 1_000_000,
    items: Annotated[int, typer.Option("--items", min=2000, help="That the model can remember.")] = 200_000,
    events: Annotated[int, typer.Option("--events", min=10_000, help="Of the whole time.")] = 30_000_000,
    days: Annotated[int, typer.Option("--days", min=31, help="Of simulated time.")] = 365,
    seed: Annotated[int, typer.Option("--seed", help="Of everything random.")] = 0,
) -> None:
    """A year in one model, in simulated time, beside a model that begins with the last month."""
    from benchmarks.legs.aging import Size, measure

    _report(lambda progress: measure(Size(visitors, items, events, days), seed, progress), as_json)


@app.command()
def partitions(
    file: Annotated[Path, typer.Argument(help="TSV, CSV or JSON lines, plain or gzipped.", exists=True)],
    as_json: AsJson = False,
    runs: Runs = 3,
    partitions: Partitions = 12,
    shards: Shards = 1,
    limit: Annotated[int | None, typer.Option("--limit", min=10_000, help="Rows at most.")] = None,
) -> None:
    """Hit rate of a history that is replayed at full speed into several partitions, beside one partition."""
    from benchmarks.legs.partitions import measure

    _report(lambda progress: measure(file, runs, partitions, shards, limit, progress), as_json)


def _report(measure: Callable[[Callable[[str], None]], dict[str, Any]], as_json: bool) -> None:
    """Measure, with progress on standard error, and print the result; exit code 2 if a program is missing."""
    from benchmarks.harness.kafka_jars import MissingServer

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and workers are ended too
    try:
        result = measure(lambda line: print(line, file=sys.stderr, flush=True))
    except MissingServer as missing:
        print(f"can't measure on this machine: {missing}", file=sys.stderr)
        raise typer.Exit(2) from None
    print(json.dumps(result) if as_json else _table(result))


def _table(result: dict[str, Any]) -> str:
    lines = [f"{result['leg']}: {result['runs']} runs on {result['machine']['processor']}", ""]
    for part in ("figures", "ratios"):
        lines += [f"  {part}"]
        lines += [f"    {name:<28}{value:>14,}" for name, value in result[part].items()]
    return "\n".join(lines)
