"""The version store of one model as its callers see it: claim, publish, load, look up, move aliases, follow.

This file decides the interface, and nothing else: publishing is decided in `publishing`, reading in `reading`, names in
`lookup` and `aliases`. Retention and compaction are no part of it; the runner calls `stream.versions.compaction`.
Nothing here waits, sleeps or reads a clock; callers bring the time and use threads. Errors of the connection are
redis-py's own and pass through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import redis

from stream.access.acts import Caller
from stream.configuration.redis_address import RedisAddress
from stream.models.state_names import Names
from stream.state.checkpoint import Checkpoint
from stream.state.journal import Journal
from stream.state.table_writer import DeltaSink
from stream.state.tables import Delta
from stream.versions.aliases import Aliases, AliasMove
from stream.versions.announcements import Announcement, announcements, announcing_problem
from stream.versions.damage.healing import WholeState, newest_whole_state, set_aside
from stream.versions.damage.index import mend_index
from stream.versions.diff import diff
from stream.versions.lookup import VersionLookup
from stream.versions.manifest import ShardState, Version
from stream.versions.publishing import Claim, Publisher
from stream.versions.reading import StateReader
from stream.versions.storage.chunks import ChunkRef
from stream.versions.storage.connection.client import connect
from stream.versions.storage.namespace import Namespace
from stream.versions.storage.records import StateRecord
from stream.versions.storage.redis_checks import evicting_policy, redis_problems
from stream.versions.storage.reports import Reports, ShardReport, StoppedShard


class VersionStore:
    """All versions of one model.

    Args:
        redis: a client of redis-py that does not decode responses. It is safe to share between threads.
        model: name of the model; several share a Redis.
    """

    def __init__(self, redis: redis.Redis, model: str) -> None:
        self.space = Namespace(redis, model)
        self.redis: Any = self.space.redis
        self.model = model
        self.keys = self.space.keys
        self.publisher = Publisher(self.space, lookup := VersionLookup(self.space))
        self._lookup = lookup
        self._reader = StateReader(self.space)
        self._aliases = Aliases(self.space)
        self._reports = Reports(self.space)

    @classmethod
    def connect(cls, address: str | RedisAddress, model: str, *, timeout_seconds: float = 5.0) -> VersionStore:
        """A store at an address such as `redis://host:port/db`. It connects when it is first used.

        Raises:
            WrongAddress: there is no such address (see `stream.configuration.redis_address`).
        """
        return cls(connect(address, timeout_seconds, model), model)

    def close(self) -> None:
        """Close the connections."""
        self.redis.close()

    def redis_problems(self) -> list[str]:
        """Settings of this Redis that would one day cost versions, one sentence each."""
        return redis_problems(self.redis)

    def evicting_policy(self) -> str | None:
        """The `maxmemory-policy` of this Redis, if it may evict any key."""
        return evicting_policy(self.redis)

    def announcing_problem(self) -> str | None:
        """The reason why this user of Redis can't announce versions; None if it can."""
        return announcing_problem(self.space)

    # ---- writing

    def claim(
        self,
        partition: int,
        *,
        worker: str,
        token: str,
        now: float,
        known_offsets: Mapping[str, int] | None = None,
        known_number: int = 0,
        visitor_salt: str | None = None,
        shards: int | None = None,
    ) -> Claim:
        """Take over a shard: from now on every other worker's publish to it is refused.

        Args:
            partition: the shard.
            worker: name of the claiming worker, for people.
            token: anything that no other claim has.
            now: seconds since the epoch.
            known_offsets: next offsets by topic that a published state is known to have reached (what Kafka has
                committed, if that follows publishing). A head behind them means that Redis came back older.
            known_number: the highest version number that this worker has seen.
            visitor_salt: of the worker, to be refused before the shard is taken over if the model's is another one.
            shards: number of shards that the worker is set to, to be refused likewise.

        Raises:
            UnknownFormat: another release wrote the store.
            WrongShardCount: the model has another number of shards. The shard was not claimed.
            ShardsMerging: a command is merging the shards. The shard was not claimed.
            WrongSalt: the newest version was published with another visitor salt. The shard was not claimed.
        """
        return self.publisher.claim(
            partition,
            worker=worker,
            token=token,
            now=now,
            known_offsets=known_offsets,
            known_number=known_number,
            visitor_salt=visitor_salt,
            shards=shards,
        )

    def publish(
        self,
        claim: Claim,
        checkpoint: Checkpoint,
        *,
        settings: Mapping[str, Any],
        code_version: str,
        now: float,
        confirm: Callable[[], None] = lambda: None,
    ) -> Version:
        """Make a checkpoint the newest state of its shard, and a version of it and the other shards' states.

        Chunks are written first and mean nothing; one script then checks and makes all of it visible. Whatever fails
        before leaves nothing visible. If the connection breaks so that the outcome is unknown, call again with the same
        checkpoint, or with one that it was folded into: an attempt that did get through is recognised.

        Args:
            claim: of the shard; its head follows.
            checkpoint: everything written since the claim's head.
            settings: the model's settings, as plain JSON types. The manifest gets a digest in place of `visitor_salt`.
            code_version: of the program that learned.
            now: seconds since the epoch.
            confirm: called when everything is written and nothing is visible yet; what it raises ends the publish.

        Raises:
            Fenced, StaleParent: another worker owns the shard, or the store is another one than it was.
            WrongSalt: the newest version was published with another visitor salt.
            redis.exceptions.RedisError: Redis can't be reached or refuses; keep the checkpoint.
        """
        return self.publisher.publish(
            claim, checkpoint, settings=settings, code_version=code_version, now=now, confirm=confirm
        )

    def leave(self, claim: Claim) -> None:
        """Leave a mark that the shard's worker has published everything and stops.

        The next publish or claim takes it away. A worker that is killed leaves none; if Redis was started anew by the
        next claim, that claim begins a new lineage, because Redis may have come back older.
        """
        self.publisher.leave(claim)

    # ---- healing

    def mend_index(self, partition: int) -> list[str]:
        """Rebuild keys that Redis has lost and that follow from others; return them, without the model's prefix."""
        return mend_index(self.space, partition)

    def newest_whole_state(self, partition: int, new_sink: Callable[[ShardState], DeltaSink]) -> WholeState | None:
        """The newest state of a shard of which every part is there and is what was written, loaded; None without one.

        Args:
            partition: the shard.
            new_sink: makes an empty place for the tables of a state, at each attempt.
        """
        return newest_whole_state(self.space, self._reader, partition, new_sink)

    def set_aside(
        self, claim: Claim, state: ShardState | None, *, who: str, why: str, now: float, known_number: int
    ) -> None:
        """Let a shard whose head is damaged go on from another state, in a new lineage; the claim follows.

        The damaged version stays under an alias. Arguments are those of `stream.versions.damage.healing.set_aside`.

        Raises:
            Fenced, StaleParent: another worker owns the shard, or the head has changed.
        """
        set_aside(self.space, claim, state, who=who, why=why, now=now, known_number=known_number)

    # ---- reports of workers

    def report(self, partition: int, claim: Claim | None, worker: str, report: ShardReport) -> bool:
        """Say how a shard is, for servers. A report holds for `SILENT_SECONDS`, unless it is replaced before.

        Args:
            partition: the shard.
            claim: on the shard; None for a worker that can't open it yet.
            worker: name of the worker.
            report: replaces the last one.

        Returns:
            False if the claim is no longer valid, or there is none and another worker reports the shard.
        """
        epoch, token = (None, "") if claim is None else (claim.epoch, claim.token)
        return self._reports.put(partition, worker, report, epoch=epoch, token=token)

    def reporting(self, seconds: float) -> list[str]:
        """Names of the workers that have reported a shard of the model in the last so many seconds."""
        return self._reports.reporting(seconds)

    def stopped_shards(self, now: float, *, silence_counts: bool = True) -> list[StoppedShard]:
        """Shards that stand still as their worker says, or whose worker reports no longer.

        Args:
            now: seconds since the epoch.
            silence_counts: False if it is too early to conclude anything from a report that wasn't renewed, for
                instance because Redis was away until a moment ago.
        """
        return self._reports.stopped(now, silence_counts=silence_counts)

    def caught_up(self, shards: Iterable[int]) -> bool:
        """True if each of these shards has caught up with what Kafka has, as its worker reported a moment ago."""
        return self._reports.caught_up(shards)

    # ---- reading states

    def load(self, partition: int, state: ShardState, into: DeltaSink) -> dict[str, Any]:
        """Write one state of a shard, from its nearest keyframe and the deltas after it, every checksum verified.

        Returns:
            The state's readable part.

        Raises:
            UnknownVersion: the state is no longer kept.
            WrongNames: it has other sources, rankings or features than this process. Nothing was written.
            CorruptVersion: a part is missing or is not what was published.
            CorruptDelta: it belongs to other tables.
        """
        return self._reader.load(partition, state, into)

    def changes(self, partition: int, since: ShardState, to: ShardState) -> Delta | None:
        """The blocks in which `to` differs from the older state `since`; None if `to` was not built upon `since`.

        None also if `since` has been thinned out or is the newer one, or a delta in between is lost. Then `load` it.
        """
        return self._reader.changes(partition, since, to)

    def state(self, partition: int, state: ShardState) -> dict[str, Any]:
        """The readable part of a state alone. Raises `UnknownVersion` if the state is no longer kept."""
        return self._reader.state(partition, state)

    def names(self, partition: int, state: ShardState) -> Names:
        """The names of what the places in a state's tables stand for, in the order of the state.

        Redis is asked only if the order is one that this process has not got.

        Raises:
            UnknownVersion: the state is no longer kept.
            WrongNames: they are not the names of this process.
        """
        return self._reader.names(partition, state)

    def journal(self, partition: int, since: ShardState | None, to: ShardState) -> Journal:
        """The batches that lead from `since` to `to`; from the empty shard if `since` is None.

        Raises:
            JournalGone: `to` was not built upon `since`, or the batches are no longer kept.
        """
        return self._reader.journal(partition, since, to)

    def chain(self, partition: int, state: ShardState, stop: str) -> list[StateRecord] | None:
        """Records of a state and those it is encoded upon (see `stream.versions.reading.StateReader.chain`)."""
        return self._reader.chain(partition, state, stop)

    def read_tables(self, refs: Sequence[ChunkRef]) -> Delta:
        """The blocks in these chunks, folded in their order.

        Raises:
            ChunkVanished: one is not there.
            CorruptVersion: one is not what was written.
        """
        return self._reader.read_tables(refs)

    # ---- reading versions

    def latest(self) -> Version | None:
        """The newest version."""
        return self._lookup.latest()

    def served(self) -> Version | None:
        """The version that serving answers from: `pinned` if it is set, else the newest."""
        return self._lookup.served()

    def version(self, name: int | str) -> Version:
        """The version of a number, an alias, or an id or the first seven or more characters of one.

        Raises:
            UnknownVersion: there is none.
        """
        return self._lookup.version(name)

    def versions(self) -> list[Version]:
        """All versions that are kept, newest first."""
        return self._lookup.versions()

    def readable_versions(self, most: int) -> list[Version]:
        """At most this number of versions, newest first, without those whose manifest this release can't read."""
        return self._lookup.readable_versions(most)

    def states_in_versions(self, partition: int) -> set[int]:
        """Numbers of the states of a shard that the kept versions have."""
        return self._lookup.states_in_versions(partition)

    def diff(self, older: int | str, newer: int | str) -> dict[str, Any]:
        """Differences between two versions, JSON-able (see `stream.versions.diff.diff`).

        Raises:
            UnknownVersion: one of them is not there.
        """
        return diff(self.version(older), self.version(newer))

    # ---- aliases and announcements

    def aliases(self) -> dict[str, int]:
        """Every alias with the number that it points to; `latest` is among them."""
        return self._aliases.all()

    def move_alias(
        self,
        name: str,
        number: int | None,
        *,
        who: str,
        why: str,
        now: float,
        caller: Caller | None = None,
        origin: str = "",
    ) -> str | None:
        """Point an alias to a version, or take it away (None). The move is kept in the history and in the audit trail.

        Args:
            name: of the alias.
            number: of the version; None takes the alias away.
            who: name for the history, as the caller gave it.
            why: reason for the history.
            now: seconds since the epoch.
            caller: for the audit trail; by default the one that `who` names.
            origin: name of this process in the announcement.

        Returns:
            None, or a sentence that says that Redis refused to announce the move. It has taken effect all the same.

        Raises:
            WrongAlias: an alias can't have this name.
            UnknownVersion: there is no such version (any more).
        """
        return self._aliases.move(name, number, who=who, why=why, now=now, caller=caller, origin=origin)

    def history(self, limit: int = 1000) -> list[AliasMove]:
        """Moves of aliases, newest first."""
        return self._aliases.history(limit)

    def announcements(self, wait_seconds: float = 1.0) -> Iterator[Announcement | None]:
        """Announcements as they arrive, and None whenever none arrived for `wait_seconds`: the moment to poll.

        Announcements are hints. One may be lost, so a reader polls on every None too.

        Raises:
            redis.exceptions.NoPermissionError: this user of Redis may not listen; poll.
            redis.exceptions.RedisError: the connection broke; subscribe again.
        """
        return announcements(self.space, wait_seconds)
