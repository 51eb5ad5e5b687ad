"""Versions in Redis: claimed, published as one atomic step, read back bit for bit.

A worker **claims** a shard, which raises the shard's fence, and **publishes** cuts: chunks first, unreferenced and
expiring, then one script that checks fence and parents and makes everything visible at once. Readers **load** a state
from a keyframe and the deltas after it, or only the **changes** between two states.

This file decides what a reader and a writer see. It does not decide which versions are kept
(`stream.versions.retention`) nor when states are encoded anew (`stream.versions.compaction`). Nothing here waits,
sleeps or reads a clock; callers bring the time and use threads. Errors of the connection are redis-py's own and pass
through.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import msgspec
import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from stream.state.checkpoint import Checkpoint
from stream.state.folding import fold_all
from stream.state.journal import Journal, concatenate
from stream.state.table_writer import OLDEST, DeltaSink
from stream.state.tables import Delta
from stream.versions.aliases import CANARY, LATEST, PINNED, AliasMove, check_alias, is_id_prefix
from stream.versions.compaction import Maintained, maintain
from stream.versions.diff import diff
from stream.versions.errors import (
    CorruptVersion,
    Fenced,
    JournalGone,
    StaleParent,
    UnknownFormat,
    UnknownVersion,
)
from stream.versions.manifest import FORMAT, ShardState, Version, canonical_json, read_manifest, write_manifest
from stream.versions.redis_checks import cautions
from stream.versions.retention import Policy
from stream.versions.storage import scripts
from stream.versions.storage.chunks import (
    CHUNK_BYTES,
    ChunkRef,
    ChunkVanished,
    decode_journal,
    decode_tables,
    encode_tables,
    fetch_chunks,
    receive_tables,
    write_chunks,
)
from stream.versions.storage.keys import Keys
from stream.versions.storage.records import JOURNAL_DROPPED, StateRecord, decode_refs

_ATTEMPTS = 100
"""How often a publish follows other shards that were quicker; each time at least one of them got through."""

_READ_ATTEMPTS = 8

_READERS = 2
"""Threads that read a large state."""

_TOGETHER = 4
"""Chunks that a thread fetches at once."""


@dataclass
class Claim:
    """The right to publish one shard, until somebody else claims it. It follows its own publishes.

    Attributes:
        partition: the shard.
        epoch: rises with every claim.
        token: told apart from another claim of the same epoch, after Redis came back older.
        lineage: of the versions that will be published.
        head: the state to restore and to publish upon; None for a shard without any.
        new_lineage: the store turned out older than what had been seen, so this claim has started a new lineage.
        next_seq: of the next state.
        unconfirmed: states whose publishing ended without an answer, by digest.
    """

    partition: int
    epoch: int
    token: str
    worker: str
    lineage: str
    head: ShardState | None
    new_lineage: bool
    next_seq: int
    unconfirmed: dict[str, ShardState] = field(default_factory=dict)


class Announcement(msgspec.Struct, frozen=True):
    """Something moved: a new version, or an alias."""

    number: int | None
    partition: int | None = None
    alias: str | None = None


class VersionStore:
    """All versions of one model.

    Args:
        redis: a client of redis-py that does not decode responses. It is safe to share between threads.
        model: name of the model; several share a Redis.
    """

    def __init__(self, redis: redis.Redis, model: str) -> None:
        self.redis: Any = redis
        self.model = model
        self.keys = Keys(model)
        self._claim = self.script(scripts.CLAIM)
        self._new_lineage = self.script(scripts.NEW_LINEAGE)
        self._tip = self.script(scripts.TIP)
        self._publish = self.script(scripts.PUBLISH)
        self._read = self.script(scripts.READ)
        self._chain = self.script(scripts.CHAIN)
        self._move_alias = self.script(scripts.MOVE_ALIAS)

    @classmethod
    def connect(cls, url: str, model: str, *, timeout_seconds: float = 5.0) -> VersionStore:
        """A store at `redis://host:port/db`. Connects when it is first used.

        A broken connection is made anew once and at once; whether to wait for a Redis that is away is the caller's
        decision, so the client doesn't.
        """
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 1),
        )
        return cls(client, model)

    def close(self) -> None:
        self.redis.close()

    def cautions(self) -> list[str]:
        """What about this Redis would one day cost versions (see `stream.versions.redis_checks`)."""
        return cautions(self.redis)

    def script(self, source: str) -> Any:
        """A Lua script as a function of its arguments."""
        registered = self.redis.register_script(source)

        def run(*arguments: Any) -> Any:
            return registered(keys=[self.keys.prefix], args=arguments)

        return run

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
    ) -> Claim:
        """Take over a shard: from now on every other worker's publish to it is refused.

        Args:
            partition: the shard.
            worker: who claims, for people.
            token: anything that no other claim has.
            now: seconds since the epoch.
            known_offsets: next offsets by topic that a published state is known to have reached (what Kafka has
                committed, if that follows publishing). A head behind them means that Redis came back older.
            known_number: the highest version number that this worker has seen.

        Raises:
            UnknownFormat: another release wrote the store.
        """
        reply = self._claim(partition, token, worker, now, FORMAT, _lineage(token))
        if reply[0] == b"format":
            raise UnknownFormat(
                f"model {self.model!r} in Redis has format {_text(reply[1])}; this release reads and writes {FORMAT}. "
                "Use another CORRENTE_MODEL_NAME or the release that wrote it"
            )
        _, epoch, lineage, entry, head_seq, latest, newest = reply
        head = msgspec.json.decode(entry, type=ShardState) if entry else None
        if head is None and head_seq:
            raise CorruptVersion(f"shard {partition} has a head {_text(head_seq)} whose record is missing")
        claim = Claim(
            partition=partition,
            epoch=int(epoch),
            token=token,
            worker=worker,
            lineage=_text(lineage),
            head=head,
            new_lineage=False,
            next_seq=max(int(newest), head.seq if head else 0) + 1,
        )
        reached = head.offsets if head else {}
        behind = any(offset > reached.get(topic, 0) for topic, offset in (known_offsets or {}).items())
        if behind or known_number > int(latest):
            lineage = _lineage(token)
            if self._new_lineage(partition, claim.epoch, token, lineage, known_number)[0] == b"ok":
                claim.lineage, claim.new_lineage = lineage, True
        return claim

    def publish(
        self, claim: Claim, cut: Checkpoint, *, settings: Mapping[str, Any], code_version: str, now: float
    ) -> Version:
        """Make a cut the newest state of its shard, and a version of it and the other shards' states.

        Chunks are written first and mean nothing; one script then checks and makes all of it visible. Whatever fails
        before leaves nothing visible. If the connection breaks so that the outcome is unknown, call again with the same
        cut, or with that cut folded with a later one (`stream.state.checkpoint.fold_cuts`): what did get through is recognised.

        Args:
            claim: of the shard; its head follows.
            cut: what was written since the claim's head.
            settings: the model's settings, for the manifest.
            code_version: of the program that learned.
            now: seconds since the epoch.

        Raises:
            Fenced, StaleParent: somebody else owns the shard, or the store is another one than it was.
            redis.exceptions.RedisError: Redis can't be reached or refuses; keep the cut.
        """
        tables = write_chunks(self.redis, self.keys, encode_tables(cut.delta))
        written = {name: len(part.blocks) for name, part in sorted(cut.delta.items())}
        journal, journal_refs = cut.journal, self._write_journal(cut.journal)
        encoded_state = canonical_json(cut.state)
        for _ in range(_ATTEMPTS):
            parent = claim.head
            digest = hashlib.sha256(
                canonical_json(
                    [
                        parent.digest if parent else "",
                        [ref.sha256 for ref in tables],
                        [ref.sha256 for ref in journal_refs],
                        hashlib.sha256(encoded_state).hexdigest(),
                    ]
                )
            ).hexdigest()
            entry = ShardState(
                seq=claim.next_seq,
                digest=digest,
                offsets=dict(cut.state.get("offsets", {})),
                counters=dict(cut.state.get("counters", {})),
                tables=written,
                journal={"batches": journal.batches},
            )
            tip_number, tip_id, tip_manifest, lineage, floor = self._tip()
            latest = read_manifest(tip_manifest) if tip_manifest else None
            shard = str(claim.partition)
            version, manifest = write_manifest(
                number=max(int(tip_number), int(floor)) + 1,
                parent=latest.id if latest else None,
                lineage=_text(lineage),
                now=now,
                model=self.model,
                shards={**(latest.shards if latest else {}), claim.partition: entry},
                metrics={**(latest.metrics if latest else {}), shard: cut.state.get("metrics", {})},
                drift={**(latest.drift if latest else {}), shard: cut.state.get("drift", {})},
                settings=settings,
                code_version=code_version,
            )
            claim.unconfirmed[digest] = entry
            reply = self._publish(
                claim.partition,
                claim.epoch,
                claim.token,
                parent.seq if parent else "",
                parent.digest if parent else "",
                entry.seq,
                digest,
                tip_id,
                lineage,
                version.number,
                version.id,
                manifest,
                canonical_json({str(partition): state.seq for partition, state in version.shards.items()}),
                repr(now),
                msgspec.json.encode(entry),
                encoded_state,
                msgspec.json.encode(tables) if parent else "",
                "" if parent else msgspec.json.encode(tables),
                msgspec.json.encode(journal_refs),
                msgspec.json.encode(Announcement(version.number, claim.partition)),
                *(ref.name for ref in [*tables, *journal_refs]),
            )
            outcome = _text(reply[0])
            if outcome in ("ok", "done"):
                claim.head, claim.next_seq = entry, entry.seq + 1
                claim.unconfirmed.clear()
                return version if outcome == "ok" else self.version(int(reply[1]))
            if outcome == "fenced":
                raise _fenced(claim, epoch=_text(reply[1]), worker=_text(reply[2]))
            if outcome == "stale":
                head_seq, head_digest = _text(reply[1]), _text(reply[2])
                if head_digest not in claim.unconfirmed:
                    raise _stale(claim, head_seq, head_digest)
                # an earlier publish got through although its answer did not; its batches are in the store already
                claim.head = claim.unconfirmed[head_digest]
                claim.next_seq = claim.head.seq + 1
                journal = cut.journal.after(claim.head.offsets)
                journal_refs = self._write_journal(journal)
            if outcome == "missing":  # Redis lost the chunks, or they expired before the script came
                tables = write_chunks(self.redis, self.keys, encode_tables(cut.delta))
                journal_refs = self._write_journal(journal)
        raise StaleParent(
            f"shard {claim.partition}: other shards were quicker {_ATTEMPTS} times; nothing was published"
        )

    def _write_journal(self, journal: Journal) -> list[ChunkRef]:
        return write_chunks(self.redis, self.keys, [(journal.encode(), "journal")] if journal.batches else [])

    # ---- reading states

    def load(self, partition: int, state: ShardState, into: DeltaSink) -> dict[str, Any]:
        """Write one state of a shard, from its nearest keyframe and the deltas after it, every checksum verified.

        Gives its readable part.

        Raises:
            UnknownVersion: the state is no longer kept.
            CorruptVersion: a part is missing or is not what was published.
            CorruptDelta: it belongs to other tables.
        """

        def read() -> dict[str, Any]:
            chain = self.chain(partition, state, "keyframe")
            if chain is None:
                raise CorruptVersion(f"state {state.seq} of shard {partition} has no keyframe before it")
            into.begin()
            refs = [*(record.delta for record in chain[:-1]), chain[-1].keyframe or []]
            self._put([(age, ref) for age, of_one in enumerate(refs) for ref in of_one], into)
            return msgspec.json.decode(chain[0].state)

        return self._while_chunks_move(read)

    def _put(self, refs: Sequence[tuple[int, ChunkRef]], into: DeltaSink) -> None:
        """Fetch, verify, decode and write chunks, each with the age of its state, newest first."""

        def put(together: Sequence[tuple[int, ChunkRef]]) -> None:
            found = receive_tables(self.redis, self.keys, [ref for _, ref in together])
            for (age, _), piece in zip(together, found, strict=True):
                into.put(min(age, OLDEST), piece)

        groups = [refs[at : at + _TOGETHER] for at in range(0, len(refs), _TOGETHER)]
        at_once = [group for group in groups if group[-1][0] < OLDEST]
        if sum(ref.bytes for _, ref in refs) <= CHUNK_BYTES:
            at_once = []
        if at_once:
            with ThreadPoolExecutor(_READERS, "corrente-read") as pool:
                list(pool.map(put, at_once))  # raises what the first of them raised
        for group in groups[len(at_once) :]:
            put(group)

    def changes(self, partition: int, since: ShardState, to: ShardState) -> Delta | None:
        """The blocks in which `to` differs from the older state `since`; None if `to` was not built upon `since`.

        None also when `since` has been thinned out, or is the newer one. Then `load` it.
        """
        if since.digest == to.digest:
            return {}

        def read() -> Delta | None:
            try:
                chain = self.chain(partition, to, since.digest)
            except UnknownVersion:
                return None
            if chain is None:
                return None
            return self.read_tables([ref for record in reversed(chain) for ref in record.delta])

        return self._while_chunks_move(read)

    def state(self, partition: int, state: ShardState) -> dict[str, Any]:
        """Only the readable part of a state."""
        found = self.redis.hmget(self.keys.state(partition, state.seq), ["digest", "state"])
        if found[0] is None or _text(found[0]) != state.digest:
            raise UnknownVersion(_state_gone(partition, state))
        return msgspec.json.decode(found[1])

    def journal(self, partition: int, since: ShardState | None, to: ShardState) -> Journal:
        """The batches that lead from `since` to `to`; from the empty shard if `since` is None.

        Raises:
            JournalGone: `to` was not built upon `since`, or the batches are no longer kept.
        """

        def read() -> Journal:
            chain = self.chain(partition, to, since.digest if since else "root")
            if chain is None:
                raise JournalGone(
                    f"shard {partition}: state {to.seq} was not built upon state {since.seq if since else 0}, "
                    "or that one has been thinned out"
                )
            refs = [ref for record in reversed(chain) for ref in record.journal]
            if any(ref.codec == JOURNAL_DROPPED for ref in refs):
                raise JournalGone(f"shard {partition}: the batches before the oldest kept state are no longer kept")
            return concatenate([decode_journal(ref, chunk) for ref, chunk in fetch_chunks(self.redis, self.keys, refs)])

        return self._while_chunks_move(read)

    def chain(self, partition: int, state: ShardState, stop: str) -> list[StateRecord] | None:
        """Records from `state` back to `stop` (see the script), newest first; None if it doesn't lead there."""
        status, *rest = self._chain(partition, state.seq, state.digest, stop)
        if status == b"gone":
            if int(rest[0]) == state.seq:
                raise UnknownVersion(_state_gone(partition, state))
            raise CorruptVersion(f"state {_text(rest[0])} of shard {partition}, which others need, is missing")
        if status == b"unconnected":
            return None
        return [
            StateRecord(
                seq=int(seq),
                digest=_text(digest),
                parent=int(parent) if parent else None,
                delta=decode_refs(delta),
                keyframe=decode_refs(keyframe) if keyframe else None,
                journal=decode_refs(journal),
                state=encoded,
            )
            for seq, digest, parent, delta, keyframe, journal, encoded in rest[0]
        ]

    def read_tables(self, refs: Sequence[ChunkRef]) -> Delta:
        """The blocks in these chunks, folded in their order.

        Raises:
            ChunkVanished: one is not there.
            CorruptVersion: one is not what was written.
        """
        chunks = fetch_chunks(self.redis, self.keys, refs)
        if sum(ref.bytes for ref in refs) <= CHUNK_BYTES:
            return fold_all([decode_tables(*chunk) for chunk in chunks])
        with ThreadPoolExecutor(_READERS, "corrente-decode") as pool:  # while the next ones arrive
            decoding = [pool.submit(decode_tables, *chunk) for chunk in chunks]
            return fold_all([each.result() for each in decoding])

    def _while_chunks_move(self, read: Any) -> Any:
        """A state may be encoded anew while it is read; then its record names other chunks."""
        for _ in range(_READ_ATTEMPTS):
            try:
                return read()
            except ChunkVanished as error:
                vanished = error
        raise CorruptVersion(f"{vanished}, and the state's record still names it: Redis has lost data") from vanished

    # ---- reading versions

    def latest(self) -> Version | None:
        """The newest version."""
        return self._first_of(LATEST)

    def served(self) -> Version | None:
        """What serving answers from: `pinned` if it is set, else the newest."""
        return self._first_of(PINNED, LATEST)

    def version(self, name: int | str) -> Version:
        """The version of a number, an alias, or an id (or the first seven or more characters of one).

        Raises:
            UnknownVersion: there is none.
        """
        text = str(name)
        found = self._first_of(f"#{int(text)}" if text.isdecimal() else text)
        if found is None and is_id_prefix(text):  # which may be all digits too
            ids = [id_ for id_ in self.redis.hkeys(self.keys.ids) if _text(id_).startswith(text)]
            if len(ids) > 1:
                raise UnknownVersion(f"{len(ids)} ids of model {self.model!r} start with {text}; give more of it")
            number = self.redis.hget(self.keys.ids, ids[0]) if ids else None
            found = self._first_of(f"#{int(number)}") if number else None
        if found is None and self._first_of(LATEST) is None:
            raise UnknownVersion(
                f"model {self.model!r} has no versions yet: no worker has published one, or CORRENTE_MODEL_NAME or "
                "CORRENTE_REDIS name others"
            )
        if found is None:
            raise UnknownVersion(
                f"model {self.model!r} has no version {name!r}: it never was, or retention has thinned it out. "
                "`corrente versions list` shows what there is"
            )
        return found

    def versions(self) -> list[Version]:
        """All versions that are kept, newest first."""
        numbers = sorted((int(number) for number in self.redis.zrange(self.keys.versions, 0, -1)), reverse=True)
        found: list[Version] = []
        for at in range(0, len(numbers), 64):
            with self.redis.pipeline(transaction=False) as pipe:
                for number in numbers[at : at + 64]:
                    pipe.hmget(self.keys.version(number), ["manifest", "id"])
                found.extend(read_manifest(manifest, _text(id_)) for manifest, id_ in pipe.execute() if manifest)
        return found

    def diff(self, older: int | str, newer: int | str) -> dict[str, Any]:
        """What moved from one version to another, JSON-able (see `stream.versions.diff.diff`).

        Raises:
            UnknownVersion: one of them is not there.
        """
        return diff(self.version(older), self.version(newer))

    def states_in_versions(self, partition: int) -> set[int]:
        """Numbers of the states of a shard that the kept versions have."""
        numbers = self.redis.zrange(self.keys.versions, 0, -1)
        with self.redis.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.hget(self.keys.version(int(number)), "shards")
            found = [
                msgspec.json.decode(shards, type=dict[int, int], strict=False) for shards in pipe.execute() if shards
            ]
        return {shards[partition] for shards in found if partition in shards}

    def _first_of(self, *names: str) -> Version | None:
        reply = self._read(*names)
        if not reply or reply[2] is None:
            return None
        return read_manifest(reply[2], _text(reply[1]))

    # ---- aliases

    def aliases(self) -> dict[str, int]:
        """Every alias with the number that it points to; `latest` is among them."""
        found = {_text(name): int(number) for name, number in self.redis.hgetall(self.keys.aliases).items()}
        latest = self.redis.hget(self.keys.latest, "number")
        return {**({LATEST: int(latest)} if latest else {}), **dict(sorted(found.items()))}

    def move_alias(self, name: str, number: int | None, *, who: str, why: str, now: float) -> None:
        """Point an alias to a version, or take it away (None). The move is kept in the history.

        Raises:
            WrongAlias: an alias can't have this name.
            UnknownVersion: there is no such version (any more).
        """
        announcement = msgspec.json.encode(Announcement(number, alias=check_alias(name)))
        reply = self._move_alias(
            name,
            "" if number is None else number,
            json.dumps(name),
            json.dumps(who),
            json.dumps(why),
            repr(now),
            announcement,
        )
        if reply[0] == b"unknown":
            raise UnknownVersion(
                f"alias {name!r} can't point to version {number}: model {self.model!r} doesn't have it"
            )

    def history(self, limit: int = 1000) -> list[AliasMove]:
        """Moves of aliases, newest first."""
        moves = self.redis.lrange(self.keys.alias_history, 0, limit - 1)
        return [msgspec.json.decode(move, type=AliasMove) for move in moves]

    # ---- keeping history small

    def maintain(self, partition: int, policy: Policy, now: float) -> Maintained:
        """One round of thinning, folding and keyframes for a shard (see `stream.versions.compaction`).

        Takes from milliseconds to seconds; call it from a thread, every few seconds, where the shard is owned.
        """
        return maintain(self, partition, policy, now)

    # ---- announcements

    def announcements(self, wait_seconds: float = 1.0) -> Iterator[Announcement | None]:
        """What is announced, and None whenever nothing was for `wait_seconds`: the moment to look for oneself.

        Announcements are hints. One may be lost, so a reader polls on every None too.

        Raises:
            redis.exceptions.RedisError: the connection broke; ask again.
        """
        with self.redis.pubsub(ignore_subscribe_messages=True) as subscription:
            subscription.subscribe(self.keys.announcements)
            while True:
                message = subscription.get_message(timeout=wait_seconds)
                yield None if message is None else msgspec.json.decode(message["data"], type=Announcement)


def _lineage(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:12]


def _fenced(claim: Claim, epoch: str, worker: str) -> Fenced:
    return Fenced(
        f"shard {claim.partition} is claimed with epoch {epoch or 'none'} by {worker or 'nobody'}; this worker "
        f"({claim.worker}) holds epoch {claim.epoch}. Nothing was published. Drop the shard's state; if Kafka still "
        "assigns the partition, claim, restore and seek again"
    )


def _stale(claim: Claim, head_seq: str, head_digest: str) -> StaleParent:
    parent = f"state {claim.head.seq} ({claim.head.digest[:12]})" if claim.head else "the empty shard"
    return StaleParent(
        f"the head of shard {claim.partition} is state {head_seq or 'none'} ({head_digest[:12]}); this cut was made "
        f"upon {parent}. Nothing was published: Redis came back with other data, or another worker has published. "
        "Drop the shard's state, then claim, restore and seek again"
    )


def _state_gone(partition: int, state: ShardState) -> str:
    return f"state {state.seq} ({state.digest[:12]}) of shard {partition} is not kept any more"


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


__all__ = ["CANARY", "LATEST", "PINNED", "Announcement", "Claim", "VersionStore"]
