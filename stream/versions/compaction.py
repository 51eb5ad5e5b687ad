"""Compaction: versions are thinned, their states folded, and keyframes made where chains grow long.

It works like the compaction of a log-structured store, beside readers and the publishing worker:

1. Retention names the versions to drop; one script drops them unless an alias names them by then.
2. A run of states that no version has any more is folded into the state after it: the last write of each block stays,
   the batches of their journals are concatenated, and the run is dropped.
3. A state whose chain back to a keyframe has grown much longer than a keyframe becomes one itself, folded from the
   previous keyframe and the deltas after it. Live tables are never copied for it.
4. The oldest state gives way to the next one, which becomes a keyframe and the oldest.

A chunk that Redis has lost doesn't end this. A lost keyframe is forgotten where deltas lead to its state as well; the
first keyframe behind a hole becomes the oldest state; and what can't be folded stays as it is, until the versions that
have it are thinned out. If the newest state itself can't be read any more, the result says so, and the worker publishes
a keyframe from the live tables.

Each change of a record is one script that checks that the record is still the one that was read; if it isn't, the step
is left for the next round. Replaced chunks live on for half a minute, for readers on their way to them. Folding reads
and writes a lot and may run in any thread; it holds no lock and no claim.

This file decides when states are folded and encoded anew. Which versions are kept is decided in
`stream.versions.retention`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from stream.state.journal import concatenate
from stream.state.tables import Delta, TableDelta
from stream.versions.damage.holes import forget_lost_keyframes, is_lost, whole_states
from stream.versions.errors import LostData
from stream.versions.retention import Listed, Policy, kept, settled
from stream.versions.storage import scripts
from stream.versions.storage.chunks import (
    JOURNAL,
    REPLACED_SECONDS,
    ChunkRef,
    ChunkVanished,
    decode_journal,
    encode_tables,
    fetch_chunks,
    write_chunks,
)
from stream.versions.storage.records import (
    JOURNAL_DROPPED,
    StateRecord,
    absent_chunks,
    encode_refs,
    read_records,
    stored_bytes,
)
from stream.versions.storage.requests import DropRequest, ReencodeRequest
from stream.versions.store import VersionStore

KEYFRAME_PACK_BYTES = 8 * 1024 * 1024
"""Size up to which tables of a keyframe are packed. Larger ones would keep a load waiting: pairs take a third of a
second to pack, and twice their time to read."""

FOLD_RUN = 8
"""Neighbouring states without a version that are folded although more may join them."""

CHAIN_BYTES = 8 * 1024 * 1024
"""Length up to which a chain of deltas needs no keyframe, however small the keyframe would be."""

CHAIN_KEYFRAMES = 1.5
"""Longest chain of deltas, as a multiple of its keyframe's bytes. A longer one is slower to load, a shorter one makes a
history of many keyframes."""

SMALL_JOURNAL_BYTES = 256 * 1024
"""Size below which neighbouring journals are written as one."""

ROOT_JOURNAL_BYTES = 32 * 1024 * 1024
"""Size up to which the batches before the oldest kept state are kept; beyond it all of them go."""


_VERSIONS_A_SCRIPT = 500


class Compacted(NamedTuple):
    """Counts of one round."""

    versions_dropped: int
    states_dropped: int
    states_folded: int
    keyframes: int
    bytes_written: int
    lost_chunks: int = 0
    """Chunks of kept states that Redis has lost, or whose bytes are others."""
    broken_heads: int = 0
    """1 if the newest state can't be read."""


class _RecordChanged(Exception):
    """A record or version that this round was built upon is no longer what was read."""


def compact(store: VersionStore, partition: int, policy: Policy, now: float) -> Compacted:
    """One round for one shard: thin, fold, make keyframes, drop.

    Shard 0's round is also that of shards that were merged into others: no worker owns them any more.

    It takes from milliseconds to seconds; call it from a thread, every few seconds, where the shard is owned.

    Args:
        store: of the model.
        partition: the shard; its owner calls this, but nothing breaks if two processes do.
        policy: how much history is kept.
        now: seconds since the epoch.

    Raises:
        CorruptVersion: a chunk can't be decoded although its checksum is right; nothing that refers to it is changed.
    """
    rounds = [Compacted(drop_versions(store, policy, now), 0, 0, 0, 0), _compact_states(store, partition, policy)]
    if partition == 0:
        rounds += [
            _compact_retired(store, int(retired), policy) for retired in store.redis.smembers(store.keys.retired)
        ]
    return Compacted._make(map(sum, zip(*rounds, strict=True)))


def _compact_retired(store: VersionStore, partition: int, policy: Policy) -> Compacted:
    """One round for a shard that was merged into others. Its last state goes with the last version that has it."""
    done = _compact_states(store, partition, policy)
    if not store.redis.exists(store.keys.states(partition)):
        store.redis.srem(store.keys.retired, partition)
    return done


def _compact_states(store: VersionStore, partition: int, policy: Policy) -> Compacted:
    """One round for the states of one shard."""
    damaged: set[str] = set()
    while True:
        states = _ShardStates(store, partition, policy, damaged)
        try:
            states.go_round_holes()
            states.fold_runs()
            states.place_keyframes()
            states.drop_unneeded()
        except (_RecordChanged, ChunkVanished):
            pass  # the rest of this round is left for the next one, which reads the records again
        except LostData as error:
            if not error.chunk or error.chunk in damaged:
                raise
            damaged.add(error.chunk)
            continue
        return Compacted(
            0,
            states.dropped,
            states.folded,
            states.keyframes,
            states.bytes_written,
            lost_chunks=len(states.lost),
            broken_heads=int(states.head_is_broken),
        )


def drop_versions(store: VersionStore, policy: Policy, now: float) -> int:
    """Drop the versions that the policy does not keep, and count them. Their states stay until they are folded."""
    listed = [
        Listed(int(number), float(at)) for number, at in store.redis.zrange(store.keys.versions, 0, -1, withscores=True)
    ]
    keep = kept(listed, policy, now, named=set(store.aliases().values()))
    drop = sorted(version.number for version in listed if version.number not in keep)
    run = store.space.script(scripts.DROP_VERSIONS)
    return sum(len(run((), *drop[at : at + _VERSIONS_A_SCRIPT])) for at in range(0, len(drop), _VERSIONS_A_SCRIPT))


class _ShardStates:
    """The states of one shard as this round read them."""

    def __init__(
        self, store: VersionStore, partition: int, policy: Policy, damaged: Collection[str] = frozenset()
    ) -> None:
        self.store = store
        self.partition = partition
        self.reencode_script = store.space.script(scripts.REENCODE)
        self.drop_script = store.space.script(scripts.DROP_STATES)
        self.records = read_records(
            store.space, partition
        )  # before the versions: what is published meanwhile is in neither
        self.lost = absent_chunks(store.space, self.records.values()) | set(damaged)
        if self.lost:  # or another process has encoded the states anew since they were read
            self.records = read_records(store.space, partition)
            self.lost = absent_chunks(store.space, self.records.values()) | set(damaged)
        self.head = self._read_head()
        self.needed = self._read_needed()
        self.recent = set(sorted(self.records)[-policy.keep_last :])
        self.dropped = self.folded = self.keyframes = self.bytes_written = 0

    def _read_needed(self) -> set[int]:
        """Numbers of the states that a version has, and of the head."""
        needed = set(self.store.states_in_versions(self.partition))
        return needed | (set() if self.head is None else {self.head})

    def _read_head(self) -> int | None:
        """Number of the head; of the newest state that was read, if the head was published since. None without a head.

        A shard that was healed has newer states than its head, and one that was merged into others has none.
        """
        head = self.store.redis.hget(self.store.keys.head(self.partition), "seq")
        if head is None:
            return None
        return int(head) if int(head) in self.records else max(self.records, default=None)

    @property
    def head_is_broken(self) -> bool:
        """True if the newest state can't be read."""
        return self.head is not None and self.head not in whole_states(self.records, self.lost)

    # ---- steps

    def go_round_holes(self) -> None:
        """Forget lost keyframes that aren't needed, and let the chain of the newest state begin behind a hole."""
        if not self.lost and all(
            each.parent in self.records for each in self.records.values() if each.parent is not None
        ):
            return
        forget_lost_keyframes(self.store.space, self.partition, self.records, self.lost)
        first_keyframe: StateRecord | None = None
        at = self.records[self.head] if self.head is not None else None
        while at is not None:
            if at.keyframe is not None and not is_lost(at.keyframe, self.lost):
                first_keyframe = at
            hole = is_lost(at.delta, self.lost) or (at.parent is not None and at.parent not in self.records)
            if hole:
                break
            at = self.records.get(at.parent) if at.parent is not None else None
        if at is not None and first_keyframe is not None and first_keyframe.parent is not None:
            journal = [ChunkRef("", 0, "", JOURNAL_DROPPED)]
            self._reencode(first_keyframe, None, [], first_keyframe.keyframe, journal)

    def fold_runs(self) -> None:
        """Fold each run of states without a version into the needed state after it."""
        newest_keyframe = max(
            (seq for seq, record in self.records.items() if record.keyframe is not None), default=None
        )
        following = self._following()
        for seq in sorted(self.needed & self.records.keys()):
            child = self.records[seq]
            run: list[StateRecord] = []
            base = self.records.get(child.parent) if child.parent is not None else None
            while base is not None and base.seq not in self.needed and base.seq != newest_keyframe and base.parent:
                run.append(base)
                base = self.records.get(base.parent)
            if base is None:
                continue
            if base.parent is None and base.seq not in self.needed and self._move_root(base, run, child):
                continue
            lasting = seq not in self.recent and bool(run)
            if lasting and settled(run[-1].created_at, child.created_at, following.get(seq)):
                self._fold([*reversed(run), child], base.seq, child.keyframe, pack_bytes=math.inf)
            else:
                self._fold_groups(run[::-1])
        if newest_keyframe is not None and newest_keyframe < min(self.needed & self.records.keys(), default=0):
            self._begin_with(self.records[newest_keyframe])

    def _begin_with(self, keyframe: StateRecord) -> None:
        """Make a keyframe the oldest state: no version needs one that is older."""
        older: list[StateRecord] = []
        at = self.records.get(keyframe.parent) if keyframe.parent is not None else None
        while at is not None:
            older.append(at)
            at = self.records.get(at.parent) if at.parent is not None else None
        if older:
            self._move_root(older[-1], older[:-1], keyframe)

    def _fold_groups(self, run: list[StateRecord]) -> None:
        """Fold neighbours with equal revisions only, so that a block is not copied in every round."""
        for _, neighbours in groupby(run, key=lambda record: record.revision):
            group = list(neighbours)
            if len(group) >= FOLD_RUN:
                self._fold(group, group[0].parent, None, pack_bytes=0)

    def _fold(
        self, chain: list[StateRecord], parent: int | None, keyframe: list[ChunkRef] | None, *, pack_bytes: float
    ) -> None:
        """Write the deltas and journals of a chain as those of its last state, unless one of the deltas is lost."""
        if any(is_lost(record.delta, self.lost) for record in chain):
            return
        delta = self._write_tables(self._read([ref for record in chain for ref in record.delta]), pack_bytes=pack_bytes)
        self._reencode(chain[-1], parent, delta, keyframe, self._join_journals(chain))

    def _following(self) -> dict[int, float]:
        """Creation time of the next needed state after each, in seconds since the epoch."""
        seqs = sorted(self.needed & self.records.keys())
        return {seq: self.records[after].created_at for seq, after in pairwise(seqs)}

    def _move_root(self, root: StateRecord, run: list[StateRecord], child: StateRecord) -> bool:
        """Make `child` the oldest state, if it is a keyframe or the deltas since `root` are half of its keyframe."""
        chain = [root, *reversed(run), child]
        deltas = [ref for record in chain[1:] for ref in record.delta]
        keyframe = child.keyframe
        if keyframe is None:
            if is_lost([*(root.keyframe or []), *deltas], self.lost):
                return False
            if stored_bytes(deltas) < stored_bytes(root.keyframe) / 2:
                return False
            keyframe = self._write_keyframe([*(root.keyframe or []), *deltas])
        journal = self._join_journals(chain)
        if stored_bytes(journal) > ROOT_JOURNAL_BYTES:
            journal = [ChunkRef("", 0, "", JOURNAL_DROPPED)]
        self._reencode(child, None, [], keyframe, journal)
        return True

    def place_keyframes(self) -> None:
        """Give the head and lasting states a keyframe if their chain is long; remove keyframes that it doesn't need."""
        head = max(self.records, default=None) if self.head is None else self.head
        path: list[StateRecord] = []
        at = self.records.get(head) if head is not None else None
        while at is not None:
            path.append(at)
            at = self.records.get(at.parent) if at.parent is not None else None
        if not path or path[-1].keyframe is None:
            return
        path.reverse()
        last_keyframe, chain_bytes = path[0], 0
        for index, record in enumerate(path[1:], start=1):
            chain_bytes += stored_bytes(record.delta)
            limit = max(CHAIN_BYTES, CHAIN_KEYFRAMES * stored_bytes(last_keyframe.keyframe))
            if record.keyframe is not None:
                following = next(
                    (at for at, later in enumerate(path[index + 1 :], index + 1) if later.keyframe is not None), None
                )
                if following is not None:
                    bridged = chain_bytes + sum(stored_bytes(later.delta) for later in path[index + 1 : following])
                    if bridged <= limit:
                        self._reencode(record, record.parent, record.delta, None, record.journal)
                        continue
                last_keyframe, chain_bytes = record, 0
            elif chain_bytes > limit and (
                record.seq == head or (record.seq in self.needed and record.seq not in self.recent)
            ):
                since = path[path.index(last_keyframe) + 1 : index + 1]
                refs = [*(last_keyframe.keyframe or []), *(ref for later in since for ref in later.delta)]
                if is_lost(refs, self.lost):
                    continue
                self._reencode(record, record.parent, record.delta, self._write_keyframe(refs), record.journal)
                last_keyframe, chain_bytes = record, 0

    def drop_unneeded(self) -> None:
        """Drop states that no version has and no other state is encoded upon, children before parents."""
        children = Counter(record.parent for record in self.records.values())
        gone: list[StateRecord] = []
        for seq in sorted(self.records, reverse=True):
            if seq not in self.needed and children[seq] == 0:
                record = self.records[seq]
                gone.append(record)
                children[record.parent] -= 1
        if not gone:
            return
        for record in gone:
            del self.records[record.seq]
        staying = {name for record in self.records.values() for name in record.chunks}
        chunks = {name for record in gone for name in record.chunks if name} - staying
        named = [value for record in gone for value in (record.seq, record.digest, record.revision)]
        status, *_ = self.drop_script(DropRequest(self.partition, REPLACED_SECONDS, len(gone)), *named, *chunks)
        if status != b"ok":
            raise _RecordChanged
        self.dropped += len(gone)

    # ---- reading and writing

    def _read(self, refs: list[ChunkRef]) -> Delta:
        return self.store.read_tables(refs)

    def _write_tables(self, delta: Delta, *, pack_bytes: float) -> list[ChunkRef]:
        refs = write_chunks(self.store.redis, self.store.keys, encode_tables(delta, pack_bytes=pack_bytes))
        self.bytes_written += stored_bytes(refs)
        return refs

    def _write_keyframe(self, refs: list[ChunkRef]) -> list[ChunkRef]:
        self.keyframes += 1
        return self._write_tables(without_zeros(self._read(refs)), pack_bytes=KEYFRAME_PACK_BYTES)

    def _join_journals(self, chain: Iterable[StateRecord]) -> list[ChunkRef]:
        """Chunks of neighbouring journals, small ones rewritten as one."""
        refs = [ref for record in chain for ref in record.journal]
        if any(ref.codec == JOURNAL_DROPPED or ref.name in self.lost for ref in refs):
            return [ChunkRef("", 0, "", JOURNAL_DROPPED)]
        joined: list[ChunkRef] = []
        small: list[ChunkRef] = []
        for ref in [*refs, None]:
            if ref is not None and ref.bytes < SMALL_JOURNAL_BYTES:
                small.append(ref)
                continue
            joined.extend(small if len(small) <= 1 else self._one_journal(small))
            small = []
            if ref is not None:
                joined.append(ref)
        return joined

    def _one_journal(self, refs: list[ChunkRef]) -> list[ChunkRef]:
        chunks = fetch_chunks(self.store.redis, self.store.keys, refs)
        journal = concatenate([decode_journal(ref, chunk) for ref, chunk in chunks])
        return write_chunks(self.store.redis, self.store.keys, [(journal.encode(), JOURNAL)])

    def _reencode(
        self,
        record: StateRecord,
        parent: int | None,
        delta: list[ChunkRef],
        keyframe: list[ChunkRef] | None,
        journal: list[ChunkRef],
    ) -> None:
        """Replace a record's encoding, in Redis and here. Only chunks that no other record refers to expire."""
        before = record.chunks
        after = {ref.name for refs in (delta, keyframe or [], journal) for ref in refs if ref.name}
        elsewhere = {name for other in self.records.values() if other is not record for name in other.chunks}
        new, old = sorted(after - before), sorted(before - after - elsewhere - {""})
        request = ReencodeRequest(
            partition=self.partition,
            seq=record.seq,
            digest=record.digest,
            revision=record.revision,
            parent="" if parent is None else parent,
            delta=encode_refs(delta),
            keyframe=encode_refs(keyframe),
            journal=encode_refs(journal),
            replaced_seconds=REPLACED_SECONDS,
            new_chunks=len(new),
        )
        status, *_ = self.reencode_script(request, *new, *old)
        if status != b"ok":
            raise _RecordChanged
        record.parent, record.delta, record.keyframe, record.journal = parent, delta, keyframe, journal
        record.revision += 1
        self.folded += 1


def without_zeros(delta: Delta) -> Delta:
    """A keyframe less its blocks of zeros, which loading doesn't need: tables start as zeros."""
    kept_parts = {}
    for name, part in delta.items():
        written = part.data.view(np.uint32).any(axis=1)
        if written.all():
            kept_parts[name] = part
        elif written.any():
            kept_parts[name] = TableDelta(part.blocks[written], part.data[written])
    return kept_parts
