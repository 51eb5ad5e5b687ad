"""Bad records: how fast they become dead letters, and how little they hold up the good events beside them.

Three measurements, each beside the same without bad records:

- Topics are filled with records in another format, and a worker starts: letters per second, by the end of the topic of
  dead letters, and by the worker's processor time.
- The probes of `benchmarks.legs.freshness` at 20,000 records a second, in turns with none of them bad and with half of
  them bad, on the same worker and server.
- Decoding of a batch of 4,096 records, in turns with none of them bad and with one bad record in the middle, for each
  kind of badness that another step of decoding finds. The kind that costs most counts.

This file decides how bad the records are and what is compared. The probes are decided in `benchmarks.legs.freshness`.
"""

# ruff: noqa: SLF001  the probes and the system are those of the leg `freshness`, under another load

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.harness.events import BATCH_BYTES, OTHER_FORMAT, load_events, make_topics
from benchmarks.harness.machine import machine
from benchmarks.harness.processes import TOPIC_NAMES, WORKER, check_running, cpu_seconds, running, worker_settings
from benchmarks.harness.servers import free_port, running_servers
from benchmarks.legs import freshness
from stream.ingest.decoding import Decoder
from stream.ingest.records import Record
from stream.models.settings import ModelSettings

PACE = 20_000
"""Records a second beside the probes."""

BAD_SHARE = 0.5
BATCH_RECORDS = 4096
PAIRS = 60
"""Decoded batches of each kind in each run, and as many without a bad record."""

PATIENCE_SECONDS = 300.0
POLL_SECONDS = 0.02

BAD_RECORDS = {
    "malformed": b'{"item": "a", ',
    "another format": OTHER_FORMAT,
    "no visitor": b'{"item": "a"}',
    "empty visitor": b'{"item": "a", "user": ""}',
    "control character": b'{"item": "a\\u0001", "user": "u"}',
    "too long": b'{"item": "%s", "user": "u"}' % (b"x" * 300),
    "in the future": b'{"item": "a", "user": "u", "timestamp": 4000000000}',
}
"""A value for each step of decoding that finds bad records."""


class Pace(NamedTuple):
    """Letters of one run, by the clock and by the worker's processor time."""

    letters_per_second: float
    letters_per_cpu_second: float


def measure(runs: int, probes: int, letters: int, progress: Callable[[str], None]) -> dict[str, Any]:
    """The JSON object of `corrente bench letters`.

    Args:
        runs: number of repetitions.
        probes: number of clicks in each run, with and without bad records.
        letters: number of bad records that become letters.
        progress: is called with one line of text for each step.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
        TimeoutError: letters did not arrive, or a click was not reflected.
    """
    decoding = []
    for run in range(1, runs + 1):
        decoding.append(one_bad_record_to_none())
        progress(f"run {run}  decoding with one bad record in {BATCH_RECORDS}: {decoding[-1]:.2f} times as long")
    paces = []
    for pace in _letter_paces(runs, letters):
        paces.append(pace)
        progress(f"run {len(paces)}  {pace.letters_per_second:>10,.0f} letters/s")
    times: dict[float, list[freshness.Times]] = {0.0: [], BAD_SHARE: []}
    with (
        tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder,
        freshness._system(Path(folder), 1, 1) as system,
    ):
        for run in range(1, runs + 1):
            for share, found in times.items():
                with system.load(PACE, share):
                    found.append(freshness._one_run(system, f"{run}-{share}", probes))
                other = found[-1].other
                p50, p99 = freshness._percentile(other, 50), freshness._percentile(other, 99)
                progress(f"run {run}  {share:.0%} bad  other p50 {p50:6.1f} p99 {p99:6.1f} ms")
    return _result(runs, probes, letters, decoding, paces, times)


def one_bad_record_to_none() -> float:
    """Time to decode a batch with one bad record, by that of one without: of the kind for which it is longest.

    The quickest of many turns counts: other work on the machine only ever makes a turn longer.
    """
    decoder, good = Decoder(ModelSettings()), _good_records()
    ratios = []
    for value in BAD_RECORDS.values():
        bad = [*good]
        bad[BATCH_RECORDS // 2] = bad[BATCH_RECORDS // 2]._replace(value=value)
        assert len(decoder.decode(bad)[2]) == 1
        pairs = [(_seconds(decoder, bad), _seconds(decoder, good)) for _ in range(PAIRS)]
        one, none = (min(seconds) for seconds in zip(*pairs, strict=True))
        ratios.append(one / none)
    return max(ratios)


def _good_records() -> list[Record]:
    return [
        Record(event.topic, number, event.timestamp_ms, event.value, event.key)
        for number, event in enumerate(load_events(BATCH_RECORDS))
    ]


def _seconds(decoder: Decoder, records: list[Record]) -> float:
    started = time.perf_counter()
    decoder.decode(records)
    return time.perf_counter() - started


def _letter_paces(runs: int, letters: int) -> Iterator[Pace]:
    with (
        tempfile.TemporaryDirectory(prefix="corrente-bench-") as folder,
        running_servers(Path(folder)) as (kafka, redis),
    ):
        asyncio.run(_fill(kafka.bootstrap, letters))
        for run in range(1, runs + 1):
            settings = worker_settings(kafka.bootstrap, redis.url, f"letters-{run}", free_port())
            settings["CORRENTE_DEAD_LETTERS_TOPIC"] = f"bench-dead-letters-{run}"
            yield _letter_pace(settings, letters, Path(folder) / f"worker-{run}.log")


async def _fill(kafka: str, letters: int) -> None:
    """Make the topics, and write records in another format to the clicks."""
    await make_topics(kafka, TOPIC_NAMES.values(), 1)
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", max_batch_size=BATCH_BYTES)
    await producer.start()
    try:
        sent, batch = [], producer.create_batch()
        for number in range(letters):
            key, now = b"customer %d" % (number % 5000), int(time.time() * 1000)
            if batch.append(key=key, value=OTHER_FORMAT, timestamp=now) is None:
                sent.append(await producer.send_batch(batch, TOPIC_NAMES["clicks"], partition=0))
                batch = producer.create_batch()
                batch.append(key=key, value=OTHER_FORMAT, timestamp=now)
        sent.append(await producer.send_batch(batch, TOPIC_NAMES["clicks"], partition=0))
        await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _letter_pace(settings: dict[str, str], letters: int, log: Path) -> Pace:
    """Run a worker until every letter is acknowledged. The pace is from the first letters to the last."""
    asyncio.run(make_topics(settings["CORRENTE_KAFKA"], [settings["CORRENTE_DEAD_LETTERS_TOPIC"]], 1))
    with running(WORKER, settings, log) as process:

        async def count() -> Pace:
            topic = TopicPartition(settings["CORRENTE_DEAD_LETTERS_TOPIC"], 0)
            async with AIOKafkaConsumer(bootstrap_servers=settings["CORRENTE_KAFKA"]) as consumer:
                first: tuple[float, int, float] | None = None
                deadline = time.monotonic() + PATIENCE_SECONDS
                while time.monotonic() < deadline:
                    check_running(process, log)
                    written = (await consumer.end_offsets([topic]))[topic]
                    now, used = time.monotonic(), cpu_seconds(process.pid)
                    if first is None and written:
                        first = now, written, used
                    if first is not None and written >= letters:
                        since, before, used_before = first
                        return Pace((written - before) / (now - since), (written - before) / (used - used_before))
                    await asyncio.sleep(POLL_SECONDS)
                raise TimeoutError(f"{letters} dead letters were not written within {PATIENCE_SECONDS:.0f} seconds")

        return asyncio.run(count())


def _result(
    runs: int,
    probes: int,
    letters: int,
    decoding: list[float],
    paces: list[Pace],
    times: dict[float, list[freshness.Times]],
) -> dict[str, Any]:
    figures: dict[str, float] = {
        "letters_per_second": round(statistics.median(pace.letters_per_second for pace in paces)),
        "letters_per_cpu_second": round(statistics.median(pace.letters_per_cpu_second for pace in paces)),
    }
    spread: dict[str, list[float]] = {
        "letters_per_second": [
            round(min(pace.letters_per_second for pace in paces)),
            round(max(pace.letters_per_second for pace in paces)),
        ],
        "decoding_one_bad_in_4096": [round(min(decoding), 3), round(max(decoding), 3)],
    }
    for share, name in ((0.0, "none_bad"), (BAD_SHARE, "half_bad")):
        for who in ("own", "other"):
            for percent in (50, 99):
                each = [freshness._percentile(getattr(found, who), percent) for found in times[share]]
                figure = f"{who}_p{percent}_ms_{name}"
                figures[figure] = round(statistics.median(each), 1)
                spread[figure] = [round(min(each), 1), round(max(each), 1)]
    return {
        "leg": "letters",
        "machine": machine(),
        "runs": runs,
        "probes": probes,
        "letters": letters,
        "figures": figures,
        "spread": spread,
        "ratios": {
            "decoding_one_bad_in_4096": round(statistics.median(decoding), 3),
            **{
                f"{who}_p{percent}_half_bad_to_none": round(
                    figures[f"{who}_p{percent}_ms_half_bad"] / figures[f"{who}_p{percent}_ms_none_bad"], 2
                )
                for who in ("own", "other")
                for percent in (50, 99)
            },
        },
    }
