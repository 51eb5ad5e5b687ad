"""Reading states: whole into tables, as the changes between two, their readable part, their journals.

Every checksum is verified. Compaction may encode a state anew while it is read; then chunks vanish, the record is read
again, and the same bytes come from other chunks.

A table of a source that this process doesn't have is left out.

This file decides how a state is put together from a keyframe and the deltas after it, and that a state which this
process can't bring to its own tables is refused. It never writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from stream.models.migration.layout import misfit
from stream.models.source_names import SOURCES
from stream.models.state_names import RELEASE_0_1, TODAY, TODAY_DIGEST, Names, difference, names_in
from stream.state.folding import fold_all
from stream.state.journal import Journal, concatenate
from stream.state.table_writer import OLDEST, DeltaSink
from stream.state.tables import Delta
from stream.versions.errors import CorruptVersion, JournalGone, LostData, UnknownVersion, WrongNames
from stream.versions.manifest import ShardState
from stream.versions.storage import scripts
from stream.versions.storage.chunks import (
    CHUNK_BYTES,
    ChunkRef,
    ChunkVanished,
    decode_journal,
    decode_tables,
    fetch_chunks,
    receive_tables,
)
from stream.versions.storage.namespace import Namespace, text
from stream.versions.storage.records import JOURNAL_DROPPED, StateRecord
from stream.versions.storage.requests import ChainRequest, ChainRow

T = TypeVar("T")

KNOWN_NAMES: Mapping[str, Names] = {TODAY_DIGEST: TODAY, "": RELEASE_0_1}
"""Names by their digest in a manifest, for those that need not be read from a state."""

_ATTEMPTS = 8
"""Rounds of compaction that one read may meet before Redis is said to have lost data."""

_THREADS = 2
"""Threads that read a large state."""

_CHUNKS_A_FETCH = 4
"""Chunks that a thread fetches in one command."""


class StateReader:
    """The states of one model's shards."""

    def __init__(self, space: Namespace) -> None:
        self._space = space
        self._chain = space.script(scripts.CHAIN)

    def load(self, partition: int, state: ShardState, into: DeltaSink) -> dict[str, Any]:
        """Write one state into tables and return its readable part; see `VersionStore.load`."""

        def read() -> dict[str, Any]:
            chain = self.chain(partition, state, "keyframe")
            if chain is None:
                raise CorruptVersion(f"state {state.seq} of shard {partition} has no keyframe before it")
            readable = msgspec.json.decode(chain[0].state)
            missing = missing_tables(check_names(readable))
            into.begin()
            refs = [*(record.delta for record in chain[:-1]), chain[-1].keyframe or []]
            sink = SinkWithout(into, missing) if missing else into
            self._put([(age, ref) for age, of_one in enumerate(refs) for ref in of_one], sink)
            return readable

        return _while_chunks_move(read)

    def _put(self, refs: Sequence[tuple[int, ChunkRef]], into: DeltaSink) -> None:
        """Fetch, verify, decode and write chunks, each with the age of its state, newest first."""

        def put(group: Sequence[tuple[int, ChunkRef]]) -> None:
            found = receive_tables(self._space.redis, self._space.keys, [ref for _, ref in group])
            for (age, _), part in zip(group, found, strict=True):
                into.put(min(age, OLDEST), part)

        groups = [refs[at : at + _CHUNKS_A_FETCH] for at in range(0, len(refs), _CHUNKS_A_FETCH)]
        # Beyond the largest age order decides which block stays, so those groups are written one after the other.
        in_any_order = [group for group in groups if group[-1][0] < OLDEST]
        if sum(ref.bytes for _, ref in refs) <= CHUNK_BYTES:
            in_any_order = []
        if in_any_order:
            with ThreadPoolExecutor(_THREADS, "corrente-read") as pool:
                list(pool.map(put, in_any_order))  # raises what the first of them raised
        for group in groups[len(in_any_order) :]:
            put(group)

    def changes(self, partition: int, since: ShardState, to: ShardState) -> Delta | None:
        """The blocks in which a state differs from an older one, or None; see `VersionStore.changes`."""
        if since.digest == to.digest:
            return {}

        def read() -> Delta | None:
            try:
                chain = self.chain(partition, to, since.digest)
            except UnknownVersion:
                return None
            if chain is None:
                return None
            delta = self.read_tables([ref for record in reversed(chain) for ref in record.delta])
            missing = missing_tables(self.names(partition, to))
            return {name: part for name, part in delta.items() if name not in missing}

        try:
            return _while_chunks_move(read)
        except LostData:  # a keyframe behind the hole may have everything
            return None

    def state(self, partition: int, state: ShardState) -> dict[str, Any]:
        """The readable part of a state. Raises `UnknownVersion` if the state is no longer kept."""
        key = self._space.keys.state(partition, state.seq)
        digest, encoded = self._space.redis.hmget(key, ["digest", "state"])
        if digest is None or text(digest) != state.digest:
            raise UnknownVersion(_state_gone(partition, state))
        return msgspec.json.decode(encoded)

    def names(self, partition: int, state: ShardState) -> Names:
        """The names of what the places in a state's tables stand for; see `VersionStore.names`."""
        known = KNOWN_NAMES.get(state.names)
        readable = self.state(partition, state) if known is None else {"names": known, "layout": state.layout}
        return check_names(readable)

    def journal(self, partition: int, since: ShardState | None, to: ShardState) -> Journal:
        """The batches that lead from one state to another; see `VersionStore.journal`."""

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
            chunks = fetch_chunks(self._space.redis, self._space.keys, refs)
            return concatenate([decode_journal(ref, chunk) for ref, chunk in chunks])

        return _while_chunks_move(read)

    def chain(self, partition: int, state: ShardState, stop: str) -> list[StateRecord] | None:
        """Records from `state` back to `stop`, newest first; None if `state` was not built upon `stop`.

        Args:
            partition: the shard.
            state: the newest one.
            stop: the digest of a state, which is left out; `keyframe` or `root`, which are the last records.

        Raises:
            UnknownVersion: `state` is no longer kept.
            LostData: a record in between is missing.
        """
        status, *rest = self._chain(ChainRequest(partition, state.seq, state.digest, stop))
        if status == b"unconnected":
            return None
        (found,) = rest
        if status == b"gone":
            if int(found) == state.seq:
                raise UnknownVersion(_state_gone(partition, state))
            raise LostData(f"state {text(found)} of shard {partition}, which others need, is missing")
        return [StateRecord.of_chain(ChainRow(*row)) for row in found]

    def read_tables(self, refs: Sequence[ChunkRef]) -> Delta:
        """The blocks in these chunks, folded in their order.

        Raises:
            ChunkVanished: one is not there.
            CorruptVersion: one is not what was written.
        """
        chunks = fetch_chunks(self._space.redis, self._space.keys, refs)
        if sum(ref.bytes for ref in refs) <= CHUNK_BYTES:
            return fold_all([decode_tables(*chunk) for chunk in chunks])
        with ThreadPoolExecutor(_THREADS, "corrente-decode") as pool:  # while the next ones arrive
            decoding = [pool.submit(decode_tables, *chunk) for chunk in chunks]
            return fold_all([each.result() for each in decoding])


def check_names(state: Mapping[str, Any]) -> Names:
    """The names of what the places in a state's tables stand for.

    Args:
        state: its readable part.

    Raises:
        WrongNames: this process can't bring them to its own.
    """
    names = names_in(state)
    if (wrong := difference(names) or misfit(state.get("layout", {}))) is not None:
        raise WrongNames(wrong)
    return names


def missing_tables(names: Names) -> frozenset[str]:
    """Tables that a state may have and this process doesn't: those of sources that it lacks."""
    return frozenset(names["sources"]).difference(SOURCES)


class SinkWithout(DeltaSink):
    """A destination that gets all tables but some.

    Args:
        into: the destination.
        left_out: names of the tables that it doesn't get.
    """

    def __init__(self, into: DeltaSink, left_out: frozenset[str]) -> None:
        self._into = into
        self._left_out = left_out

    def begin(self) -> None:
        self._into.begin()

    def put(self, age: int, part: Delta) -> None:
        self._into.put(age, {name: table for name, table in part.items() if name not in self._left_out})


def _while_chunks_move(read: Callable[[], T]) -> T:
    """Repeat a read whose chunks vanished: the state was encoded anew, and its record names other chunks now."""
    for _ in range(_ATTEMPTS):
        try:
            return read()
        except ChunkVanished as error:
            vanished = error
    raise LostData(f"{vanished}, and the state's record still names it: Redis has lost data") from vanished


def _state_gone(partition: int, state: ShardState) -> str:
    return f"state {state.seq} ({state.digest[:12]}) of shard {partition} is not kept any more"
