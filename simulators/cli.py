"""`corrente demo` and `corrente replay` as commands.

This file decides their options, their exit codes and how their errors are reported.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from stream.ingest.files.cli import ColumnsInOrder, MappedTopic, MappingName, Separator


def demo(
    seconds: Annotated[float, typer.Option(min=5, help="How long the shop is open.")] = 90,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the HTTP server, 0 for any free one.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="No live view; the last line is one JSON object.")] = False,
    seed: Annotated[int, typer.Option(help="Of the shop and its shoppers.")] = 0,
) -> None:
    """Watch a shop learn: broker, Redis, worker, server and shoppers on this machine, nothing to install."""
    from rich.console import Console

    from simulators.children import ChildEnded
    from simulators.demo import Story, run
    from simulators.demo_view import LiveView, PlainLines
    from simulators.embedded import NotInstalled, PathTooLong
    from simulators.system import NotStarted

    def ended(*_: Any) -> None:
        raise KeyboardInterrupt

    # Every part ends in its order. SIGINT is set too, because a shell starts background jobs with it ignored.
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, ended)
    story = Story(seconds)
    console = Console()
    view = (
        LiveView(console) if console.is_terminal and not as_json else PlainLines(sys.stderr if as_json else sys.stdout)
    )
    try:
        with view:
            run(story, port, view, seed)
    except KeyboardInterrupt:
        pass
    except (NotInstalled, PathTooLong, NotStarted, ChildEnded) as error:
        print(f"corrente demo: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(story.summary()), flush=True)
    else:
        model, popularity = story.hit_rate.overall
        print(
            f"learned {story.events_learned:,} of {story.events_sent:,} events in {story.version} versions; "
            f"HR@10 {model:.3f}, popularity {popularity:.3f} ({story.hit_rate.tests:,} tests); "
            f"rollback {'exact' if story.rollback_ok else 'not shown'}. Nothing is left running."
        )


def replay(
    file: Annotated[Path, typer.Argument(help="TSV, CSV, JSON lines or Parquet, plain or packed; - is stdin.")],
    via: Annotated[Literal["http", "kafka"], typer.Option(help="POST it, or write it to the topics.")] = "http",
    speed: Annotated[str, typer.Option(help="How much faster than it happened: 100x, or max.")] = "max",
    times: Annotated[
        Literal["shift", "keep"], typer.Option(help="shift: the history ends now. keep: the times of the file.")
    ] = "shift",
    column: Annotated[
        list[str] | None,
        typer.Option(help="Our column's name in the file, such as item=product_id; may be repeated."),
    ] = None,
    columns: ColumnsInOrder = None,
    separator: Separator = None,
    kind: Annotated[str | None, typer.Option(help="Kind of every event, for a file that has no column for it.")] = None,
    mapping: MappingName = None,
    topic: MappedTopic = None,
    address: Annotated[
        str | None, typer.Option(help="Of the HTTP server; else what CORRENTE_HOST and CORRENTE_PORT say.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows at most.")] = None,
    check: Annotated[bool, typer.Option(help="Wait until all is learned, and compare the system's counters.")] = False,
    patience: Annotated[float, typer.Option(min=0, help="Seconds to wait with --check.")] = 600,
    as_json: Annotated[bool, typer.Option("--json", help="The last line is one JSON object.")] = False,
) -> None:
    """Send a history from a file into a running system. Ends with 1 if an event failed or the counts don't close."""
    import asyncio

    import httpx
    from aiokafka.errors import KafkaError

    from simulators.replay import Plan
    from simulators.replay_run import run_replay
    from stream.ingest.files.cli import column_names, readable_again, record_mapping
    from stream.ingest.files.columns import WrongFile
    from stream.ingest.files.delimited import TableForm
    from stream.settings import load_settings

    settings = load_settings()
    server = address or f"http://{settings.host}:{settings.port}"
    try:
        names, form = column_names(column), TableForm.of(columns, separator)
        by_mapping = record_mapping(mapping, topic, own_form=bool(column or kind), scale=settings.model.scale)
        with readable_again(file) as readable:
            mapped = settings.mapping_plan.topics.keys() if settings.mapping_plan else ()
            plan = Plan(readable, names, kind, _speed(speed), times, settings.fields, limit, form, mapped, by_mapping)
            report = asyncio.run(
                run_replay(
                    plan,
                    settings,
                    via=via,
                    address=server,
                    check_seconds=patience if check else None,
                )
            )
    except httpx.HTTPError as error:
        print(f"corrente replay: {server} gave no answer or an error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    except (WrongFile, KafkaError, OSError) as error:
        print(f"corrente replay: {str(error) or repr(error)}", file=sys.stderr)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    if as_json:
        print(json.dumps(report.summary()), flush=True)
    if report.outcome.failed or not report.closed:
        raise typer.Exit(1)


def _speed(text: str) -> float | None:
    if text == "max":
        return None
    try:
        speed = float(text.removesuffix("x"))
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise typer.BadParameter(f"--speed {text!r} is neither max nor a number of times, such as 100x")
    return speed
