"""Kafka, the version store, dead letters and time, in memory, with failures on demand.

Each fake keeps the contract of the real class that a runner depends on, and a list of what it was asked for. Failures
are queued by method: `store.fail("publish", error, error)` makes the next two publishes raise.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from faust.types import TP

from stream.ingest.records import Record
from stream.kafka.dead_letters import DeadLetter
from stream.kafka.fetch import NO_IDS, Fetch, Position
from stream.kafka.identity.errors import OtherTopic
from stream.kafka.letter_writer import Trouble
from stream.models.state_names import Names
from stream.runner.clock import Clock
from stream.shard.logs import LogId
from stream.state.checkpoint import Checkpoint
from stream.state.table_writer import put_all
from stream.state.tables import Delta, fold
from stream.versions import Claim, Fenced, ShardReport, ShardState, StaleParent, Version
from stream.versions.damage.healing import WholeState
from stream.versions.reading import check_names


class Failing:
    """Failures by method, each raised once."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[Exception]] = defaultdict(deque)

    def fail(self, method: str, *errors: Exception) -> None:
        self._failures[method].extend(errors)

    def failures_left(self, method: str) -> int:
        return len(self._failures[method])

    def raise_failure(self, method: str) -> None:
        if self._failures[method]:
            raise self._failures[method].popleft()


@dataclass(eq=False)
class Wait:
    """One present wait: its deadline, and the event that ends it earlier."""

    deadline: float
    passed: asyncio.Future[None]
    event: asyncio.Event | None = None

    @property
    def pending(self) -> bool:
        return not self.passed.done() and (self.event is None or not self.event.is_set())


class ManualClock(Clock):
    """Time that stands still until `advance`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._waits: list[Wait] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return 1_700_000_000.0 + self.now

    @property
    def waits(self) -> list[float]:
        """Seconds from now until each present wait ends; waits whose end has come are left out."""
        return sorted(wait.deadline - self.now for wait in self._waits if wait.pending)

    async def sleep(self, seconds: float) -> None:
        await self._until(seconds, None)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await self._until(seconds, event)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for wait in self._waits:
            if wait.deadline <= self.now and not wait.passed.done():
                wait.passed.set_result(None)

    async def _until(self, seconds: float, event: asyncio.Event | None) -> None:
        if seconds <= 0 or (event is not None and event.is_set()):
            await asyncio.sleep(0)
            return
        wait = Wait(self.now + seconds, asyncio.get_running_loop().create_future(), event)
        ends: list[asyncio.Future[Any]] = [wait.passed]
        if event is not None:
            ends.append(asyncio.ensure_future(event.wait()))
        self._waits.append(wait)
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._waits.remove(wait)
            for end in ends:
                end.cancel()


class FakeConsumer(Failing):
    """Kafka's logs and a consumer of them; it fetches when the test says so.

    Attributes:
        logs: records of each topic-partition.
        first: offset of the first record that is still there.
        committed_offsets: as the group has committed them.
        starts: offsets of every `start_at`.
        topic_ids: of each topic-partition, as the newest `start_at` has it.
        by_id: True if fetches name topics by id.
    """

    def __init__(self, origins: Mapping[TP, str]) -> None:
        super().__init__()
        self.origins = dict(origins)
        self.logs: dict[TP, list[Record]] = {tp: [] for tp in origins}
        self.first: dict[TP, int] = dict.fromkeys(origins, 0)
        self.committed_offsets: dict[TP, int] = {}
        self.starts: list[dict[TP, int]] = []
        self.topic_ids: dict[TP, str] = {}
        self.by_id = False
        self.sessions: dict[TP, int] = {}
        self.positions: dict[TP, int] = {}
        self.before_start = asyncio.Event()
        self.before_start.set()

    def append(self, tp: TP, *values: bytes | None) -> None:
        """Write records, one a second."""
        log = self.logs[tp]
        for value in values:
            log.append(Record(self.origins[tp], len(log), 1_700_000_000_000 + 1000 * len(log), value))

    def add_partition(self, tp: TP, origin: str) -> None:
        """Create one more topic-partition, empty."""
        self.origins[tp], self.logs[tp], self.first[tp] = origin, [], 0

    def recreate(self, tp: TP) -> None:
        """Delete a topic-partition and create it again, empty."""
        self.logs[tp] = []

    def end(self, tp: TP) -> int:
        return len(self.logs[tp])

    def fetch(self, tp: TP, most: int = 1_000_000) -> Fetch | None:
        """The next fetch of this topic-partition, None if there is nothing to fetch."""
        position = self.positions[tp]
        records = self.logs[tp][position : position + most]
        if not records:
            return None
        self.positions[tp] = position + len(records)
        return Fetch(tp, self.sessions[tp], position, records, self.positions[tp], self.end(tp))

    def position(self, tp: TP) -> Position:
        """The progress of a topic-partition for which nothing was fetched."""
        position = self.positions[tp]
        return Position(tp, self.sessions[tp], position, position, self.end(tp))

    # ---- the contract

    async def committed(self, partitions: Iterable[TP]) -> dict[TP, int]:
        self.raise_failure("committed")
        return {tp: self.committed_offsets[tp] for tp in partitions if tp in self.committed_offsets}

    async def ranges(self, partitions: Iterable[TP]) -> dict[TP, tuple[int, int]]:
        self.raise_failure("ranges")
        return {tp: (self.first[tp], self.end(tp)) for tp in partitions}

    def fetches_by_id(self, partitions: Iterable[TP]) -> bool:
        return self.by_id and all(self.topic_ids.get(tp) for tp in partitions)

    async def start_at(self, offsets: Mapping[TP, int], topic_ids: Mapping[TP, str] = NO_IDS) -> dict[TP, int]:
        self.raise_failure("start_at")
        self.topic_ids.update(topic_ids)
        await self.before_start.wait()
        self.starts.append(dict(offsets))
        for tp, offset in offsets.items():
            self.sessions[tp] = self.sessions.get(tp, 0) + 1
            self.positions[tp] = offset
        return dict(self.sessions)


@dataclass
class FakeShard:
    """The versions of one shard: its newest epoch and head, and the state of that head."""

    epoch: int = 0
    head: ShardState | None = None
    delta: Delta = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


class FakeStore(Failing):
    """Versions in memory, with fences and parents checked as the real store does.

    Attributes:
        claims: arguments of every claim.
        published: every checkpoint that became visible.
        attempts, publish_arguments: number of publishes that were tried, and their arguments.
        may_publish: clear it to hold publishes up.
        problems: what the configuration of this Redis endangers.
        reports: claim, worker and report of each shard that was reported.
        settings: of the newest version.
        evicts: policy of a Redis that may evict any key.
        lost_keys: keys that are lost, and rebuilt when that is asked for.
        left: claims whose workers stopped cleanly.
    """

    def __init__(self) -> None:
        super().__init__()
        self.claims: list[dict[str, Any]] = []
        self.published: list[Checkpoint] = []
        self.attempts = 0
        self.publish_arguments: list[dict[str, Any]] = []
        self.may_publish = threading.Event()
        self.may_publish.set()
        self.closed = False
        self.problems: list[str] = []
        self.shards: dict[int, FakeShard] = defaultdict(FakeShard)
        self.reports: dict[int, tuple[Claim | None, str, ShardReport]] = {}
        self.settings: dict[str, Any] = {}
        self.evicts: str | None = None
        self.lost_keys: list[str] = []
        self.left: list[Claim] = []

    def take_over(self, partition: int) -> None:
        """Let another worker claim the shard."""
        self.shards[partition].epoch += 1

    def replace_head(self, partition: int) -> None:
        """Let the head become a state that no claim has seen."""
        head = self.shards[partition].head
        assert head is not None
        self.shards[partition].head = replace(head, digest="another")

    # ---- the contract

    def claim(self, partition: int, **arguments: Any) -> Claim:
        self.raise_failure("claim")
        self.claims.append({"partition": partition, **arguments})
        shard = self.shards[partition]
        shard.epoch += 1
        reached = shard.head.offsets if shard.head else {}
        behind = any(offset > reached.get(topic, 0) for topic, offset in arguments["known_offsets"].items())
        return Claim(
            partition=partition,
            epoch=shard.epoch,
            token=arguments["token"],
            worker=arguments["worker"],
            lineage="second" if behind else "first",
            head=shard.head,
            new_lineage=behind,
            next_seq=(shard.head.seq if shard.head else 0) + 1,
        )

    def latest(self) -> Version | None:
        self.raise_failure("latest")
        heads = {number: shard.head for number, shard in self.shards.items() if shard.head is not None}
        return _version(heads, settings=self.settings) if heads else None

    def state(self, partition: int, state: ShardState) -> dict[str, Any]:
        assert state == self.shards[partition].head
        return self.shards[partition].state

    def names(self, partition: int, state: ShardState) -> Names:
        self.raise_failure("names")
        return check_names(self.state(partition, state))

    def evicting_policy(self) -> str | None:
        self.raise_failure("evicting_policy")
        return self.evicts

    def announcing_problem(self) -> str | None:
        return None

    def leave(self, claim: Claim) -> None:
        self.raise_failure("leave")
        self.left.append(claim)

    def mend_index(self, _: int) -> list[str]:
        mended, self.lost_keys = self.lost_keys, []
        return mended

    def load(self, partition: int, state: ShardState, into: Any) -> dict[str, Any]:
        self.raise_failure("load")
        shard = self.shards[partition]
        assert state == shard.head
        put_all(into, [shard.delta])
        return shard.state

    def newest_whole_state(self, partition: int, new_sink: Callable[[ShardState], Any]) -> WholeState:
        """The head: nothing but a keyframe is ever lost here."""
        shard = self.shards[partition]
        assert shard.head is not None
        sink = new_sink(shard.head)
        return WholeState(shard.head, self.load(partition, shard.head, sink), sink)

    def publish(self, claim: Claim, checkpoint: Checkpoint, **arguments: Any) -> Version:
        self.attempts += 1
        self.publish_arguments.append(arguments)
        self.may_publish.wait(240.0)
        self.raise_failure("publish")
        arguments["confirm"]()
        shard = self.shards[claim.partition]
        if claim.epoch != shard.epoch:
            raise Fenced("another worker has claimed the shard")
        if (claim.head.digest if claim.head else None) != (shard.head.digest if shard.head else None):
            raise StaleParent("the head is another state")
        before = {} if checkpoint.whole else shard.delta
        shard.delta, shard.state = fold(before, checkpoint.delta), checkpoint.state
        shard.head = claim.head = ShardState(
            claim.next_seq,
            f"state {claim.next_seq}",
            dict(checkpoint.state["offsets"]),
            dict(checkpoint.state["counters"]),
            layout=dict(checkpoint.state["layout"]),
        )
        claim.next_seq += 1
        self.published.append(checkpoint)
        self.settings = dict(arguments["settings"])
        return _version(
            {claim.partition: shard.head},
            number=len(self.published),
            lineage=claim.lineage,
            created_at=arguments["now"],
            settings=self.settings,
            code_version=arguments["code_version"],
        )

    def report(self, partition: int, claim: Claim | None, worker: str, report: ShardReport) -> bool:
        self.raise_failure("report")
        self.reports[partition] = (claim, worker, report)
        return True

    def redis_problems(self) -> list[str]:
        self.raise_failure("redis_problems")
        return self.problems

    def close(self) -> None:
        self.closed = True


def _version(shards: dict[int, ShardState], **more: Any) -> Version:
    given: dict[str, Any] = {"number": 1, "lineage": "first", "created_at": 0.0, "settings": {}, "code_version": ""}
    return Version(
        id="version", parent=None, model="default", shards=shards, events=0, metrics={}, drift={}, **{**given, **more}
    )


class FakeTopicIds(Failing):
    """Identities of topics, which a test may change: `ids.recreate("clicks")`.

    Attributes:
        cluster: id of the cluster.
        created: number of times that each topic was created, which makes its id.
        questions: number of calls of `confirm`.
        without_ids: the logs of a broker that gives topics no id, whose records are witnesses.
    """

    def __init__(self) -> None:
        super().__init__()
        self.cluster = "production"
        self.questions = 0
        self.without_ids: FakeConsumer | None = None
        self.created: dict[str, int] = defaultdict(lambda: 1)

    def recreate(self, name: str) -> None:
        self.created[name] += 1

    # ---- the contract

    async def look_up(self, partitions: Iterable[TP]) -> dict[TP, LogId]:
        self.raise_failure("look_up")
        return {tp: LogId(self.cluster, self._id(tp.topic), tp.topic, tp.partition) for tp in partitions}

    def _id(self, topic: str) -> str:
        return f"{topic} {self.created[topic]}" if self.without_ids is None else ""

    async def confirm(self, bound: Mapping[TP, LogId]) -> None:
        self.questions += 1
        self.raise_failure("confirm")
        for tp, found in (await self.look_up(bound)).items():
            if found != bound[tp]:
                raise OtherTopic(f"the topic {tp.topic} was created again")

    async def witness(self, tp: TP, offset: int) -> str:
        self.raise_failure("witness")
        assert self.without_ids is not None
        records = self.without_ids.logs[tp][offset:]
        return f"{records[0].offset}:{hashlib.sha256(records[0].value or b'').hexdigest()}" if records else ""

    async def close(self) -> None:
        """Nothing is open."""


class FakeDeadLetters:
    """Dead letters in memory, acknowledged at once unless the test says otherwise."""

    def __init__(self) -> None:
        self.sent: list[DeadLetter] = []
        self.trouble: Trouble | None = None
        self.may_acknowledge = asyncio.Event()
        self.may_acknowledge.set()
        self.stopped = False

    async def send(self, letters: Iterable[DeadLetter]) -> None:
        self.sent += letters
        await self.may_acknowledge.wait()

    async def stop(self) -> None:
        self.stopped = True


class FakeCompaction(Failing):
    """Compaction that only notes that it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, Any, float]] = []
        self.may_end = threading.Event()
        self.may_end.set()

    def __call__(self, shard: int, policy: Any, now: float) -> Any:
        from stream.versions.compaction import Compacted

        self.calls.append((shard, policy, now))
        self.may_end.wait(240.0)
        self.raise_failure("compact")
        return Compacted(0, 0, 0, 0, 0)
