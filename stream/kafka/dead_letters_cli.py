"""`corrente dead-letters list|replay`: shows dead letters, and sends them to their topics again.

A replayed record goes to its topic again, with its key and its time, and its letter is deleted; if it is still wrong,
it becomes a new letter. A record that was refused because its time was too far ahead is sent with the present time,
which may have made it acceptable. A record that was cut can't be replayed: the rest of it is gone.

This file decides the output and options of these commands, and the order of sending and deleting.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from stream.kafka.dead_letters import DeadLetter
    from stream.settings import Settings

Result = TypeVar("Result")

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Records that could not be learned, and why.")

TopicOption = Annotated[str | None, typer.Option("--topic", help="Only letters from this topic (its name in Kafka).")]
ReasonOption = Annotated[str | None, typer.Option("--reason", help="Only letters whose reason contains this text.")]
NameOption = Annotated[
    str | None, typer.Option("--name", help="Only the letter of this name (topic-partition-offset).")
]


@app.command("list")
def list_letters(
    topic: TopicOption = None,
    reason: ReasonOption = None,
    name: NameOption = None,
    most: Annotated[int, typer.Option("--most", help="Show only this many of the newest; 0 shows all.")] = 50,
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a letter, with the whole value.")] = False,
) -> None:
    """Show dead letters, oldest first."""
    from stream.settings import load_settings

    letters = _run(_read(load_settings(), topic, reason, name))
    shown = letters[-most:] if most else letters
    for letter in shown:
        print(_as_json(letter) if json_lines else _as_line(letter))
    if not json_lines:
        hidden = f", {len(letters) - len(shown)} older ones not shown (--most 0)" if len(shown) < len(letters) else ""
        print(f"{len(letters)} dead letters{hidden}")


@app.command()
def replay(
    topic: TopicOption = None,
    reason: ReasonOption = None,
    name: NameOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Send nothing, only print how many would be sent.")
    ] = False,
) -> None:
    """Send dead letters to their topics again, once the reason is fixed."""
    from stream.settings import load_settings

    settings = load_settings()
    letters = _run(_read(settings, topic, reason, name))
    whole = [letter for letter in letters if not (letter.cut or letter.key_cut) and letter.value is not None]
    for letter in letters:
        if letter not in whole:
            print(f"{letter.name}: not sent, only a part of the original was kept")
    if not dry_run:
        _run(_send(settings, whole))
    print(f"{len(whole)} of {len(letters)} dead letters {'would be' if dry_run else 'were'} sent to their topics again")


def _run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run it; ends the command with exit code 1 and one line if Kafka can't be used."""
    from aiokafka.errors import KafkaError

    try:
        return asyncio.run(work)
    except (KafkaError, TimeoutError) as error:
        print(f"corrente dead-letters: {str(error) or repr(error)}", file=sys.stderr)
        raise typer.Exit(1) from None


async def _read(settings: Settings, topic: str | None, reason: str | None, name: str | None) -> list[DeadLetter]:
    from stream.kafka.dead_letters import read_letters

    return [
        letter
        async for letter in read_letters(settings)
        if (topic is None or letter.topic == topic)
        and (reason is None or reason in letter.reason)
        and (name is None or letter.name == name)
    ]


async def _send(settings: Settings, letters: list[DeadLetter]) -> None:
    from aiokafka import AIOKafkaProducer

    from stream.kafka.connection.diagnosis import require_kafka
    from stream.kafka.connection.options import client_options
    from stream.kafka.connection.rights import WRITE, Needs
    from stream.kafka.letter_writer import LARGEST_BYTES

    topics = {settings.dead_letters_topic, *(letter.topic for letter in letters)}
    await require_kafka(settings, Needs(dict.fromkeys(topics, (WRITE,))))
    producer = AIOKafkaProducer(**client_options(settings), acks="all", max_request_size=LARGEST_BYTES)
    await producer.start()
    try:
        for letter in letters:
            time_ms = None if letter.refused or letter.timestamp_ms < 0 else letter.timestamp_ms
            await producer.send_and_wait(
                letter.topic, letter.value, key=letter.key, partition=letter.partition, timestamp_ms=time_ms
            )
            # A letter is deleted only after its record has arrived: a crash in between leaves it in both topics.
            await producer.send_and_wait(settings.dead_letters_topic, None, key=letter.name.encode())
    finally:
        await producer.stop()


def _as_line(letter: DeadLetter) -> str:
    when = _time_of(letter.timestamp_ms)
    value = (letter.value or b"")[:80].decode(errors="replace")
    cut = f" (cut, {letter.original_bytes} bytes)" if letter.cut else ""
    return f"{letter.name}  {when}  {letter.reason}\n    {value!r}{cut}"


def _time_of(timestamp_ms: int) -> str:
    """The time of a record as RFC 3339; a time that no calendar has, as the number that it is.

    >>> _time_of(1_700_000_000_000), _time_of(-1), _time_of(2**63 - 1)
    ('2023-11-14T22:13:20+00:00', '1969-12-31T23:59:59+00:00', '9223372036854775807 ms')
    """
    try:
        return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return f"{timestamp_ms} ms"


def _as_json(letter: DeadLetter) -> str:
    import base64
    import json

    row: dict[str, Any] = {
        "name": letter.name,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "timestamp_ms": letter.timestamp_ms,
        "reason": letter.reason,
        "refused": letter.refused,
        "original_bytes": letter.original_bytes,
        "cut": letter.cut,
        "key_cut": letter.key_cut,
        "key": None if letter.key is None else letter.key.decode(errors="replace"),
    }
    try:
        row["value"] = None if letter.value is None else letter.value.decode()
    except UnicodeDecodeError:
        row["value_base64"] = base64.b64encode(letter.value or b"").decode()
    return json.dumps(row)
