"""The supervisor: the background process that holds a running system until it is stopped or loses a part.

    python -m simulators.quickstart.supervisor PORT EVENTS

It belongs to no terminal. SIGTERM ends everything in order; so does the end of any part, because a system that lacks
one answers wrongly or not at all. If the supervisor itself is killed, the kernel ends its children (Linux), and the
embedded broker lives in its process.

This file decides what it records and when it ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from simulators.client import Client, by_topic
from simulators.quickstart.record import Place, Record, Taken, passed_on, recorded
from simulators.shoppers import Shop
from simulators.system import TOPICS, System, running_system, wait_until
from stream.settings import WrongSetting, load_settings

CHECK_SECONDS = 0.2
SEED_BATCH = 2_500
"""Events of a seeded shop that are posted at a time: the broker keeps only some megabytes."""


class _Stopped(BaseException):
    """A signal asked for the end."""


def main(port: int, seed_events: int) -> int:
    """Run a system until it is stopped; the exit code.

    Args:
        port: port of the HTTP server; 0 picks a free one.
        seed_events: number of events of a simulated shop to learn before the system counts as ready.
    """
    for end in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(end, _stop)
    place = Place()
    record = Record(os.getpid(), recorded(passed_on(os.environ)))
    try:
        with place.held():
            place.write(record)
            try:
                _run(place, record, port, seed_events)
            except (RuntimeError, WrongSetting, OSError) as error:  # the system's own errors are of the first kind
                record.ended = str(error) or repr(error)
                place.write(record)
                return 1
            except _Stopped:
                record.ended = "it was stopped"
                place.write(record)
    except Taken as error:
        print(error, file=sys.stderr)
        return 1
    except _Stopped:  # before anything was started
        pass
    return 0


def _run(place: Place, record: Record, port: int, seed_events: int) -> None:
    """Run the system and keep the record up to date; ends with an exception in any case."""

    def progress(text: str) -> None:
        record.steps.append(text)
        place.write(record)

    given = passed_on(os.environ)
    settings = load_settings(given)
    topics = dict.fromkeys([*TOPICS, *settings.topics.values(), settings.dead_letters_topic])
    with running_system(
        port, given, progress, topics=list(topics), partitions=settings.partitions, within=place.folder
    ) as system:
        if seed_events:
            progress(f"learning {seed_events:,} events of a simulated shop")
            _seed(system, seed_events)
        record.address, record.metrics = system.address, system.metrics
        record.kafka, record.redis, record.logs = system.kafka, system.redis, str(system.folder)
        place.write(record)
        while True:
            time.sleep(CHECK_SECONDS)
            system.check()


def _seed(system: System, count: int) -> None:
    """Post events of a simulated shop, and wait until all of them are learned."""
    shop = Shop(seed=0)
    with Client(system.address) as client:
        sent = 0
        while sent < count:
            steps = [shop.step() for _ in range(min(SEED_BATCH, count - sent))]
            events = [{name: value for name, value in step._asdict().items() if value is not None} for step in steps]
            for topic, batch in by_topic(events).items():
                sent += client.post(topic, batch)

            def learned(sent: int = sent) -> bool:
                newest = client.version("latest")
                return newest is not None and newest["events"] >= sent

            wait_until(learned, system, f"{sent} events to be learned")


def _stop(*_: Any) -> None:
    """Unwind everything once; further signals don't disturb that."""
    for end in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(end, signal.SIG_IGN)
    raise _Stopped


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
