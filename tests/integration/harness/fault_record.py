"""The numbers of a fault test for the table of `make faults`: sent, lost, duplicated, stood still.

They are measured from outside while the test runs: records that Kafka has acknowledged to this process, and counters of
the newest version in Redis. A test that sends nothing has no numbers.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

from redis.exceptions import RedisError

from benchmarks.harness.waiting import wait_until
from stream.ingest.origins import topic_of
from stream.settings import load_settings
from stream.versions import VersionError, VersionStore
from tests.integration.harness import kafka_client

LOOK_SECONDS = 0.1
LAST_LOOK_SECONDS = 10.0
"""Longest wait, after the test, for a version that contains everything that was sent."""


class Account(NamedTuple):
    """The numbers of one test.

    Attributes:
        sent: records that were acknowledged; of transactions, committed ones.
        lost: of these, the records of which the newest state says nothing.
        duplicated: records that are in the state more than once.
        removed: records that retention removed before they were learned, as the state says.
        stood_still_seconds: the longest time in which records waited and no newer state was published, outages that
            the test makes and starts of workers included.
    """

    sent: int
    lost: int
    duplicated: int
    removed: int
    stood_still_seconds: float


def account(
    sent: Mapping[str, int], read: Mapping[str, int], removed: Mapping[str, int], stood_still_seconds: float
) -> Account:
    """Compare counts of records, each by topic. Removed records are in `read` too."""
    missing = [count - read.get(topic, 0) for topic, count in sent.items()]
    return Account(
        sent=sum(sent.values()),
        lost=sum(max(0, each) for each in missing),
        duplicated=sum(max(0, -each) for each in missing),
        removed=sum(removed.values()),
        stood_still_seconds=round(stood_still_seconds, 1),
    )


class StandstillClock:
    """The longest time without progress while records waited.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, now: float) -> None:
        self._furthest = 0
        self._since = now
        self.longest_seconds = 0.0

    def look(self, now: float, reached: int, waiting: bool) -> None:
        """Take a reading: number of records that were ever in a published state, and whether others wait."""
        if reached > self._furthest or not waiting:
            # Progress after the last look came at an unknown time before this one; the later one counts.
            if reached > self._furthest:
                self.longest_seconds = max(self.longest_seconds, now - self._since)
            self._since = now
            self._furthest = max(self._furthest, reached)
        else:
            self.longest_seconds = max(self.longest_seconds, now - self._since)


class Watch:
    """Follows the newest version of a test's model from a thread, until `finish`.

    Args:
        environment: settings of the test's workers; the test may change them.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._stores: dict[str, VersionStore] = {}
        self._topics: dict[str, str] = {}
        self._read: Counter[str] = Counter()
        self._removed: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._still = StandstillClock(time.monotonic())
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def finish(self) -> Account | None:
        """The numbers, once everything that was sent is in a version, or `LAST_LOOK_SECONDS` are over."""
        if not sum(self._sent().values()):
            self._stop()
            return None
        with contextlib.suppress(TimeoutError):  # what is missing then is lost, and the account says so
            wait_until(lambda: self._account().lost == 0, "everything to be published", LAST_LOOK_SECONDS)
        self._stop()
        return self._account()

    def _stop(self) -> None:
        self._stopping.set()
        self._thread.join(LAST_LOOK_SECONDS)
        for store in self._stores.values():
            store.close()

    def _account(self) -> Account:
        return account(self._sent(), self._read, self._removed, self._still.longest_seconds)

    def _sent(self) -> Counter[str]:
        """Number of acknowledged records, by our name of the topic: of every topic that ever had this name."""
        self._topics |= {kafka_name: topic for topic, kafka_name in load_settings(self._environment).topics.items()}
        sent: Counter[str] = Counter()
        for kafka_name, topic in self._topics.items():
            sent[topic] += kafka_client.acknowledged[self._environment["CORRENTE_KAFKA"], kafka_name]
        return sent

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            sent = sum(self._sent().values())
            with contextlib.suppress(RedisError, VersionError):  # Redis is away, or is empty: no progress
                self._look_at_newest_version()
            reached = sum(self._read.values())
            self._still.look(time.monotonic(), reached, waiting=reached < sent)

    def _look_at_newest_version(self) -> None:
        """Count what is read and what is lost, by our name of the topic."""
        settings = load_settings(self._environment)
        store = self._stores.get(settings.redis)
        if store is None:
            store = self._stores[settings.redis] = VersionStore.connect(settings.redis_address, settings.model_name)
        newest = store.latest()
        read: Counter[str] = Counter()
        removed: Counter[str] = Counter()
        for shard in newest.shards.values() if newest else ():
            for origin, counts in shard.counters.items():
                read[topic_of(origin)] += counts["read"]
                removed[topic_of(origin)] += counts.get("lost", 0)
        self._read, self._removed = read, removed


def write_line(path: Path, name: str, account: Account | None, outcome: str) -> None:
    """Append the numbers of one test to a file of JSON lines."""
    row: dict[str, Any] = {"name": name.removeprefix("test_"), "outcome": outcome}
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row | (account._asdict() if account else {})) + "\n")
