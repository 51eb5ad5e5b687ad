"""`corrente events tail`: shows events as they arrive.

This file decides the options of the command, and what is printed for a record.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiokafka import TopicPartition

    from stream.ingest.records import Record
    from stream.settings import Settings
    from stream.tail.reader import Start
    from stream.tail.verdict import Verdict

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Events on their way to the worker.")

SHOWN_BYTES = 120
"""Bytes of a value that can't be decoded, as a line shows them."""


@app.callback()
def _events() -> None:
    """Events on their way to the worker."""


@app.command()
def tail(
    topic: Annotated[
        list[str] | None,
        typer.Option("--topic", help="clicks, purchases or feedback; may be repeated. All of them unless given."),
    ] = None,
    start: Annotated[
        str,
        typer.Option("--from", help="newest, oldest, an offset, or a time such as 2026-01-31T12:00:00Z."),
    ] = "newest",
    count: Annotated[int, typer.Option("--count", min=0, help="End after so many records; 0: never.")] = 0,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a record.")] = False,
) -> None:
    """Show the events in Kafka's topics as they arrive: decoded, with what a worker does with each and what it lacks.

    Nothing is learned or moved by that. Records are judged one by one, by the settings of this shell: give it those of
    the worker. An event that repeats an earlier one is shown as `learned`, and counts once in the model.
    """
    from aiokafka.errors import KafkaError

    from stream.registry.errors import RegistryUnusable
    from stream.settings import load_settings

    settings = load_settings()
    topics = _chosen(settings.topics, topic)
    begin = _start_of(start)
    try:
        asyncio.run(_tail(settings, topics, begin, count, json_lines=json_lines))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        raise typer.Exit(0) from None
    except (KafkaError, RegistryUnusable, TimeoutError) as error:
        print(f"corrente events tail: {str(error) or repr(error)}", file=sys.stderr)
        raise typer.Exit(1) from None


async def _tail(settings: Settings, topics: Mapping[str, str], start: Start, count: int, *, json_lines: bool) -> None:
    from contextlib import aclosing

    from stream.ingest.schemas.known import SchemasMissing
    from stream.registry.lookup import schema_lookup
    from stream.tail.reader import read_records
    from stream.tail.verdict import Judge

    lookup = schema_lookup(settings)
    judge = Judge(settings, lookup.known if lookup is not None else None)
    shown = 0
    try:
        async with aclosing(read_records(settings, topics, start)) as records:  # type: ignore[type-var]  # a generator
            async for partition, record in records:
                try:
                    verdict = judge.judge(record)
                except SchemasMissing as missing:
                    assert lookup is not None
                    await lookup.look_up(missing.references)
                    verdict = judge.judge(record)
                line = _as_json if json_lines else _as_line
                print(line(partition, record, verdict), flush=True)
                shown += 1
                if shown == count:
                    return
    finally:
        if lookup is not None:
            lookup.close()


def _chosen(topics: Mapping[str, str], names: list[str] | None) -> dict[str, str]:
    """Our names of the chosen topics to those in Kafka; either may be given."""
    if not names:
        return dict(topics)
    ours = {**{name: name for name in topics}, **{name: our for our, name in topics.items()}}
    if unknown := [name for name in names if name not in ours]:
        raise typer.BadParameter(f"--topic {unknown[0]}: there are {', '.join(topics)}")
    return {ours[name]: topics[ours[name]] for name in names}


def _start_of(text: str) -> Start:
    """The place at which to begin.

    >>> _start_of("17"), _start_of("1970-01-01T00:01:00Z")
    (17, 60.0)
    """
    from stream.tail.reader import NEWEST, OLDEST
    from stream.values import InvalidEvent, seconds_of

    if text in {NEWEST, OLDEST}:
        return text
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return float(seconds_of(text))
    except InvalidEvent as error:
        raise typer.BadParameter(f"--from {text}: newest, oldest, an offset or a time ({error})") from None


def _as_line(partition: TopicPartition, record: Record, verdict: Verdict) -> str:
    """A line for the record, and one for each of its events and for each thing that is wrong or missing."""
    lines = [
        f"{_time_of(record.timestamp_ms)} {partition.topic}/{partition.partition}@{record.offset} {verdict.outcome}"
    ]
    lines += [f"    {json.dumps(event, ensure_ascii=False, default=repr)}" for event in verdict.events]
    if not verdict.events:
        value = record.value or b""
        more = f"… {len(value)} bytes" if len(value) > SHOWN_BYTES else ""
        lines.append(f"    {value[:SHOWN_BYTES].decode(errors='replace')!r}{more}")
    if verdict.reason:
        lines.append(f"    because {verdict.reason}")
    lines += [f"    lacks {each}" for each in verdict.missing]
    return "\n".join(lines)


def _as_json(partition: TopicPartition, record: Record, verdict: Verdict) -> str:
    row: dict[str, Any] = {
        "topic": partition.topic,
        "partition": partition.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": None if record.key is None else record.key.decode(errors="replace"),
        "bytes": None if record.value is None else len(record.value),
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "events": verdict.events,
        "missing": [each.partition(":")[0] for each in verdict.missing],
    }
    return json.dumps(row, default=repr)


def _time_of(timestamp_ms: int) -> str:
    """The time of a record in UTC.

    >>> _time_of(1_700_000_000_123), _time_of(2**63 - 1)
    ('2023-11-14T22:13:20.123Z', '9223372036854775807 ms')
    """
    try:
        moment = datetime.fromtimestamp(timestamp_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{timestamp_ms} ms"
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
