"""The storm: everything that can happen to a stream, at random, for minutes, and every event counts once.

Workers are killed, paused until they are zombies, started and stopped; Kafka and Redis are restarted; one record in
1,000 is odd; a third of the transactions abort; retention removes what was learned, and once what was not. The proof is
that of `test_exactly_once`, over a copy of what Kafka had committed: counters close, what retention took unlearned is
counted as lost exactly, every bad record has its dead letter, and tables equal, bit for bit, those of an in-memory
shard that learned the same records in the journal's order.

`MINUTES=…` sets how long it lasts. The order of the faults follows from one seed, which is printed; `SEED=…` repeats
it. The moments follow from the machine as well.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from redis.exceptions import RedisError

from benchmarks.harness.servers import KafkaServer, RedisServer
from benchmarks.harness.waiting import wait_until
from stream.ingest.decoding import Decoder
from stream.ingest.origins import origin_of, partition_of, topic_of
from stream.ingest.records import Record
from stream.settings import Settings, load_settings
from stream.versions import ShardState
from tests.integration.conftest import quick_to_time_out
from tests.integration.harness import kafka_client
from tests.integration.harness.checking import assert_every_event_counted_once, learned_everything, store_of
from tests.integration.harness.event_load import Load, Transactions, id_of
from tests.integration.harness.log_tap import LogTap
from tests.integration.harness.worker_process import WorkerProcess

MINUTES = float(os.environ.get("MINUTES") or 2)
PARTITIONS = 2
EVENTS_A_SECOND = 300
SESSION_TIMEOUT_SECONDS = 3
MOST_WORKERS = 3
STUCK_SECONDS = 120.0
"""Longest time until something is learned after each fault. A shard that is stuck never gets on."""

WITHOUT_BOUNDS = {"message.timestamp.after.max.ms": str(2**63 - 1), "retention.ms": "-1"}
"""Settings of a topic whose producers' clocks may be ten years ahead."""


class Removed(NamedTuple):
    """Offsets `first` to before `end` of one partition of a topic, by its name in Kafka."""

    topic: str
    partition: int
    first: int
    end: int


def removals_in(logs: Iterable[Path]) -> set[Removed]:
    """Every loss that workers have logged, from whichever worker and however often."""
    said = "retention removed records before they were learned"
    lines = [line for log in logs for line in log.read_text(errors="replace").splitlines() if said in line]
    fields = [dict(re.findall(r"(\w+)=([^\s']+)", line)) for line in lines]
    return {
        Removed(each["topic"], int(each["kafka_partition"]), int(each["first_lost"]), int(each["first_kept"]))
        for each in fields
    }


class Storm:
    """Faults, drawn one after the other.

    Args:
        environment: settings of the workers.
        start_worker: starts one.
        kafka, redis: the servers.
        tap: copy of the logs.
        chance: of everything that is drawn.

    Attributes:
        loses_records: True if retention overtakes the workers once, in the middle of the storm or at its end.
    """

    loses_records = True

    def __init__(
        self,
        environment: dict[str, str],
        start_worker: Callable[..., WorkerProcess],
        kafka: KafkaServer,
        redis: RedisServer | None,
        tap: LogTap,
        chance: random.Random,
    ) -> None:
        self._environment = environment
        self._settings: Settings = load_settings(environment)
        self._start_worker = start_worker
        self._kafka = kafka
        self._redis = redis
        self._tap = tap
        self._chance = chance
        self.workers: list[WorkerProcess] = [start_worker()]
        self.removed: set[Removed] = set()
        self.faults: Counter[str] = Counter()
        self._kinds: dict[Callable[[], None], int] = {
            self.kill_a_worker: 6,
            self.pause_a_worker: 4,
            self.start_another_worker: 4,
            self.stop_a_worker: 2,
            self.restart_kafka: 2,
            self.restart_redis: 2,
            self.pause_redis: 2,
            self.remove_learned_records: 3,
        }

    def strike(self) -> None:
        """One fault, and something is learned after it."""
        kind = self._chance.choices(list(self._kinds), list(self._kinds.values()))[0]
        self.do(kind)

    def do(self, fault: Callable[[], None]) -> None:
        name = fault.__name__
        self.faults[name] += 1
        fault()
        self.wait_for_progress(name)
        for worker in self.workers:
            assert worker.running(), f"a worker ended by itself after {name}:\n{worker.tail()}"

    def wait_for_progress(self, after: str) -> None:
        """Wait until every partition has learned something; raises if one is stuck."""
        before = self.offsets()
        wait_until(
            lambda: all(self.offsets().get(place, 0) > offset for place, offset in before.items()),
            f"every partition to go on after {after}; workers:\n" + "\n".join(each.tail(1500) for each in self.workers),
            STUCK_SECONDS,
        )

    def offsets(self, topic: str = "clicks") -> dict[tuple[str, int], int]:
        """Next offset of each partition of our topic in the newest version, by its name in Kafka."""
        return {
            (self._settings.topics[topic], partition_of(origin, shard)): offset
            for shard, state in newest_shards(self._environment).items()
            for origin, offset in state.offsets.items()
            if topic_of(origin) == topic
        }

    # ---- the faults

    def kill_a_worker(self) -> None:
        worker = self.workers.pop(self._chance.randrange(len(self.workers)))
        time.sleep(self._chance.uniform(0.0, 0.6))  # a random moment, not a wait for something
        worker.kill()
        if not self.workers:
            self.workers.append(self._start_worker())

    def pause_a_worker(self) -> None:
        """Long enough, most often, that the group gives its partitions to another worker, if there is one."""
        worker = self._chance.choice(self.workers)
        worker.pause()
        time.sleep(self._chance.uniform(0.2, 3.0 * SESSION_TIMEOUT_SECONDS))  # the length of the pause is the fault
        worker.resume()

    def start_another_worker(self) -> None:
        """Most often, the next fault comes when it joins the group, and sometimes while it starts."""
        if len(self.workers) == MOST_WORKERS:
            return self.kill_a_worker()
        self.workers.append(self._start_worker())
        if self._chance.random() < 0.8:
            self.workers[-1].wait_for_log("ready to join the group", STUCK_SECONDS)
        return None

    def stop_a_worker(self) -> None:
        if len(self.workers) == 1:
            return self.start_another_worker()
        worker = self.workers.pop(self._chance.randrange(len(self.workers)))
        self.stop(worker)
        return None

    @staticmethod
    def stop(worker: WorkerProcess) -> None:
        """A worker ends in good order, unless it has not got as far as to handle the signal."""
        allowed = [0] if worker.logged("ready to join the group") else [0, -signal.SIGTERM]
        assert worker.stop(60.0) in allowed, worker.tail()

    def restart_kafka(self) -> None:
        self._kafka.stop(kill=self._chance.random() < 0.7)
        time.sleep(self._chance.uniform(0.0, 3.0))  # the length of the outage is the fault
        self._kafka.start()

    def restart_redis(self) -> None:
        assert self._redis is not None
        self._redis.stop(kill=self._chance.random() < 0.7)
        time.sleep(self._chance.uniform(0.0, 5.0))  # the length of the outage is the fault
        self._redis.start()
        wait_until(self._redis_answers, "Redis to have loaded what it kept", STUCK_SECONDS)

    def _redis_answers(self) -> bool:
        try:
            newest_shards(self._environment)
        except RedisError:
            return False
        return True

    def pause_redis(self) -> None:
        assert self._redis is not None
        with self._redis.paused():
            time.sleep(self._chance.uniform(0.2, 5.0))  # the length of the pause is the fault

    def remove_learned_records(self) -> None:
        places = sorted(self.offsets(self._chance.choice(list(self._settings.topics))).items())
        if places:  # nothing of a topic may be learned yet
            (topic, partition), learned = self._chance.choice(places)
            self._remove(topic, partition, learned - self._chance.randrange(min(learned, 500)))

    def remove_unlearned_records(self) -> None:
        """Retention overtakes workers that are all dead; it is counted exactly."""
        for worker in self.workers:
            worker.kill()
        self.workers = []
        clicks = self._settings.topics["clicks"]
        wait_until(self._settled, "the last publish of a killed worker to be over", 60.0)
        (topic, partition), learned = self._chance.choice(sorted(self.offsets().items()))
        before = learned + self._chance.randint(50, 200)
        wait_until(lambda: self._tap.next_offset(clicks, partition) >= before, "more clicks", 60.0)
        self._remove(topic, partition, before)
        self.removed.add(Removed(topic, partition, learned, before))
        self.workers = [self._start_worker()]

    def _settled(self) -> bool:
        offsets = self.offsets()
        time.sleep(0.5)  # two looks, apart by longer than a request that a killed worker left in its socket takes
        return offsets == self.offsets()

    def _remove(self, topic: str, partition: int, before: int) -> None:
        wait_until(lambda: self._tap.next_offset(topic, partition) >= before, "the copy of the log", 60.0)
        kafka_client.delete_records(self._environment["CORRENTE_KAFKA"], topic, before=before, partition=partition)


@pytest.fixture
def kept_redis(environment: dict[str, str], tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that keeps what it has acknowledged when it is killed."""
    with RedisServer(tmp_path / "redis", appendonly=True) as server:
        environment["CORRENTE_REDIS"] = quick_to_time_out(server.url)
        yield server


@pytest.mark.fault
@pytest.mark.long
@pytest.mark.timeout(60.0 * MINUTES + 1800.0, func_only=True)
def test_nothing_is_lost_or_counted_twice_in_a_storm(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    kafka_server: KafkaServer,
    kept_redis: RedisServer,
    tmp_path: Path,
) -> None:
    assert_nothing_is_lost_or_counted_twice(
        environment,
        make_topics,
        lambda tap, chance: Storm(environment, worker, kafka_server, kept_redis, tap, chance),
        tmp_path,
    )


def assert_nothing_is_lost_or_counted_twice(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    new_storm: Callable[[LogTap, random.Random], Storm],
    folder: Path,
    minutes: float = MINUTES,
) -> None:
    """Let a storm pass, and compare what was learned with what Kafka took.

    Args:
        environment: settings of the workers.
        make_topics: the fixture of that name.
        new_storm: begins the storm, given the copy of the logs and the chance of everything that is drawn.
        folder: of the workers' logs.
        minutes: length of the storm.
    """
    seed = int(os.environ.get("SEED") or time.time_ns())
    print(f"SEED={seed} MINUTES={minutes:g} repeats the order of the faults")
    chance = random.Random(seed)
    environment |= {
        "CORRENTE_SESSION_TIMEOUT_SECONDS": str(SESSION_TIMEOUT_SECONDS),
        "CORRENTE_PUBLISH_SECONDS": "0.05",
    }
    make_topics(PARTITIONS, WITHOUT_BOUNDS)
    settings = load_settings(environment)
    kafka_client.make_topics(settings.kafka, {settings.dead_letters_topic: 1}, {"cleanup.policy": "compact"})
    tap = LogTap(settings.kafka, settings.topics, PARTITIONS).start()
    load, shop = Load(environment, seed, EVENTS_A_SECOND).start(), Transactions(environment, seed).start()
    storm = new_storm(tap, chance)
    wait_until(lambda: len(storm.offsets()) == PARTITIONS, "a version of all partitions", 120.0)

    started = time.monotonic()
    while (elapsed := (time.monotonic() - started) / 60) < minutes:
        if storm.loses_records and elapsed > minutes / 2 and not storm.removed:
            storm.do(storm.remove_unlearned_records)
        storm.strike()
        time.sleep(chance.uniform(0.0, 2.0))  # a random moment, not a wait for something

    if storm.loses_records and not storm.removed:
        storm.do(storm.remove_unlearned_records)
    load.stop()
    shop.stop()
    wait_until(lambda: tap.caught_up(), "the copy of the logs", STUCK_SECONDS)
    tap.stop()
    wait_until(lambda: learned_everything(environment, tap.ends()), "everything to be learned", STUCK_SECONDS)
    for each in storm.workers:
        storm.stop(each)

    copied = {
        name: [each for number in range(PARTITIONS) for each in tap.records(name, number)]
        for name in settings.topics.values()
    }
    ids = {id_of(each.value) for records in copied.values() for each in records}
    assert load.acknowledged | shop.committed <= ids, "Kafka lost what it had acknowledged"
    assert ids.isdisjoint(shop.aborted)

    assert bool(storm.removed) == storm.loses_records
    assert removals_in(folder.glob("worker-*.log")) == storm.removed
    logs = kept_logs(settings, tap, storm.removed, shards=len(newest_shards(environment)))
    assert_every_event_counted_once(environment, len(logs), logs)
    assert counted_as_lost(environment) == sum(each.end - each.first for each in storm.removed)
    bad = letters_of(settings, logs)
    letters = {each.key for each in kafka_client.read_all(settings.kafka, [settings.dead_letters_topic])}
    # A worker that was killed may have written the letter of a record that retention then took from its successor.
    assert bad <= letters <= letters_of(settings, kept_logs(settings, tap, set(), shards=len(logs)))
    lost = sum(each.end - each.first for each in storm.removed)
    print(
        f"{sum(map(len, copied.values()))} records, {load.odd} odd, {len(bad)} dead letters, {len(shop.committed)} "
        f"committed and {len(shop.aborted)} aborted in transactions, {lost} counted as lost; "
        f"{sum(storm.faults.values())} faults: {dict(storm.faults)}"
    )


def letters_of(settings: Settings, logs: Sequence[Mapping[str, list[Record]]]) -> set[bytes]:
    """Keys of the dead letters that the bad records of these logs become."""
    return {
        f"{settings.topics[topic_of(origin)]}-{partition_of(origin, shard)}-{rejection.record.offset}".encode()
        for shard, log in enumerate(logs)
        for origin, records in log.items()
        for rejection in Decoder(settings.model).decode(records)[2]
    }


def counted_as_lost(environment: dict[str, str]) -> int:
    """Number of records that the newest state counts as lost."""
    shards = newest_shards(environment).values()
    return sum(counts.get("lost", 0) for shard in shards for counts in shard.counters.values())


def newest_shards(environment: dict[str, str]) -> Mapping[int, ShardState]:
    """The shards of the newest version; none before the first one."""
    store = store_of(environment)
    newest = store.latest()
    store.close()
    return newest.shards if newest else {}


def kept_logs(settings: Settings, tap: LogTap, removed: set[Removed], shards: int) -> list[dict[str, list[Record]]]:
    """Everything that was committed and not removed before it was learned, as `checking.logs_of` returns it."""
    taken = {(each.topic, each.partition, offset) for each in removed for offset in range(each.first, each.end)}
    logs: list[dict[str, list[Record]]] = [{} for _ in range(shards)]
    for topic, name in settings.topics.items():
        for partition in range(PARTITIONS):
            shard = partition % shards
            origin = origin_of(topic, partition, shard)
            logs[shard][origin] = [
                each._replace(origin=origin)
                for each in tap.records(name, partition)
                if (name, partition, each.offset) not in taken
            ]
    return logs
