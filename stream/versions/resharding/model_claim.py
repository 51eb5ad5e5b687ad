"""The claim of a whole model: all its shards are taken, and fewer are put in their place, one atomic step each.

Claiming raises the fence of every shard, so that no other worker publishes, and for some seconds no worker can claim a
shard either. A thread renews these seconds while the command lives. If it is killed, they run out, and the workers go
on from the old shards. Chunks of the new states are unreferenced and expire until `replace` makes all of them visible.

This file decides how a model is claimed and replaced. It reads no clock but for the thread; callers bring the time.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from stream.models.state_names import digest_in
from stream.state.checkpoint import Checkpoint
from stream.versions.announcements import Announcement
from stream.versions.errors import CorruptVersion, Fenced, ShardsMerging, StaleParent, UnknownFormat
from stream.versions.manifest import FORMAT, ShardState, Version, canonical_json, read_manifest, write_manifest
from stream.versions.storage import reshard_scripts, scripts
from stream.versions.storage.chunks import ChunkRef, encode_tables, write_chunks
from stream.versions.storage.namespace import Namespace, text
from stream.versions.storage.records import JOURNAL_DROPPED, encode_refs
from stream.versions.storage.redis_checks import run_id
from stream.versions.storage.requests import (
    ClaimAllRequest,
    ClaimAllRow,
    LineageRequest,
    ReplacedShard,
    ReplaceRequest,
    ReplaceState,
    Tip,
)

HOLD_SECONDS = 30
"""Seconds for which no shard can be claimed after a command that merges them was killed."""

RENEW_SECONDS = 5.0
"""Interval at which a living command renews them."""


@dataclass(frozen=True)
class ClaimedShard:
    """One shard of a claimed model: its epoch, its newest state if there is one, and the number of the next one."""

    epoch: int
    head: ShardState | None
    next_seq: int


@dataclass(frozen=True)
class NewShard:
    """The first state of a merged shard, written but not visible.

    Attributes:
        entry: the state as manifests name it.
        readable: its readable part.
        encoded: the same, as it is stored.
        keyframe: chunks of its tables.
    """

    entry: ShardState
    readable: Mapping[str, Any]
    encoded: bytes
    keyframe: list[ChunkRef]


class ModelClaim:
    """The right to replace all shards of a model. Made by `claim_model`.

    Attributes:
        shards: all shards by number.
    """

    def __init__(self, space: Namespace, token: str, shards: Mapping[int, ClaimedShard]) -> None:
        self.shards = shards
        self._space = space
        self._token = token
        self._tip = space.script(scripts.TIP)
        self.run_replace = space.script(reshard_scripts.REPLACE)

    def write(self, shard: int, checkpoint: Checkpoint, parents: Mapping[int, ShardState]) -> NewShard:
        """Write the first state of a merged shard. Nothing is visible yet.

        Args:
            shard: number of the new shard.
            checkpoint: a snapshot of it.
            parents: the states that it was merged from.
        """
        redis, keys = self._space.redis, self._space.keys
        keyframe = write_chunks(redis, keys, encode_tables(checkpoint.delta))
        encoded = canonical_json(checkpoint.state)
        content = [
            [parents[number].digest for number in sorted(parents)],
            [ref.sha256 for ref in keyframe],
            hashlib.sha256(encoded).hexdigest(),
        ]
        entry = ShardState(
            seq=self.shards[shard].next_seq,
            digest=hashlib.sha256(canonical_json(content)).hexdigest(),
            offsets=dict(checkpoint.state["offsets"]),
            counters=dict(checkpoint.state["counters"]),
            tables={name: len(part.blocks) for name, part in sorted(checkpoint.delta.items())},
            journal={"batches": 0},
            names=digest_in(checkpoint.state),
            layout=dict(checkpoint.state.get("layout", {})),
        )
        return NewShard(entry, checkpoint.state, encoded, keyframe)

    def begin_lineage(self) -> None:
        """Let versions from now on belong to another lineage.

        Raises:
            Fenced: a worker has taken a shard in the meantime.
        """
        lineage = hashlib.sha256(self._token.encode()).hexdigest()[:12]
        first, claimed = min(self.shards.items())
        request = LineageRequest(first, claimed.epoch, self._token, lineage, 0, run_id(self._space.redis))
        status, *_ = self._space.script(scripts.NEW_LINEAGE)(request)
        if status != b"ok":
            raise Fenced("a worker has taken a shard meanwhile; nothing was changed. Stop the workers, and try again")

    def replace(
        self, states: Mapping[int, NewShard], shards: int, *, settings: Mapping[str, Any], code_version: str, now: float
    ) -> Version:
        """Put these states in the place of all shards, and make a version of them.

        Args:
            states: by number of the new shard.
            shards: number of shards that there will be.
            settings: the model's settings, as plain JSON types.
            code_version: of this program.
            now: seconds since the epoch.

        Raises:
            Fenced, StaleParent: a worker has taken a shard in the meantime. Nothing was changed.
            CorruptVersion: Redis lost what was written before. Nothing was changed.
        """
        tip = Tip(*self._tip())
        latest = read_manifest(tip.manifest)
        version, manifest = write_manifest(
            number=max(int(tip.number), int(tip.number_floor)) + 1,
            parent=latest.id,
            lineage=text(tip.lineage),
            now=now,
            model=self._space.model,
            shards={number: new.entry for number, new in states.items()},
            metrics={str(number): new.readable.get("metrics", {}) for number, new in states.items()},
            drift={str(number): new.readable.get("drift", {}) for number, new in states.items()},
            settings=settings,
            code_version=code_version,
        )
        request = ReplaceRequest(
            token=self._token,
            shards_after=shards,
            latest_id=tip.id,
            lineage=tip.lineage,
            number=version.number,
            id=version.id,
            manifest=manifest,
            shards=canonical_json({str(number): new.entry.seq for number, new in states.items()}),
            created_at=repr(now),
            announcement=msgspec.json.encode(Announcement(version.number)),
            states=len(states),
            claims=len(self.shards),
        )
        rows = [self._state_row(number, new) for number, new in sorted(states.items())]
        claims = [self._claim_row(number, claimed, shards) for number, claimed in self.shards.items()]
        chunks = [ref.name for new in states.values() for ref in new.keyframe]
        cells = [cell for row in (*rows, *claims) for cell in row]
        status, *found = self.run_replace(request, *cells, *chunks)
        match [text(status), *found]:
            case ["ok"] | ["done", _]:  # done: redis-py sent the script again after its answer was lost
                return version
            case ["fenced", shard, worker]:
                raise Fenced(
                    f"shard {text(shard)} was claimed by {text(worker) or 'a worker'} meanwhile; nothing was changed. "
                    "Stop the workers of the earlier release, and run the command again"
                )
            case ["missing", _]:
                raise CorruptVersion("Redis no longer has what was written; nothing was changed. Run the command again")
            case _:
                raise StaleParent(
                    "a worker published while the shards were merged; nothing was changed. Run the command again"
                )

    def _state_row(self, number: int, new: NewShard) -> ReplaceState:
        return ReplaceState(
            partition=number,
            seq=new.entry.seq,
            digest=new.entry.digest,
            entry=msgspec.json.encode(new.entry),
            state=new.encoded,
            keyframe=encode_refs(new.keyframe),
            # The batches before this state led to other shards: a replay can begin here, and not before.
            journal=encode_refs([ChunkRef("", 0, "", JOURNAL_DROPPED)]),
        )

    def _claim_row(self, number: int, claimed: ClaimedShard, shards: int) -> ReplacedShard:
        digest = claimed.head.digest if claimed.head else ""
        return ReplacedShard(number, claimed.epoch, digest, int(number < shards))


@contextmanager
def claim_model(space: Namespace, shards: int, *, worker: str, token: str, now: float) -> Iterator[ModelClaim]:
    """Claim all shards of a model for the time of a `with` block.

    Args:
        space: of the model.
        shards: their number.
        worker: name of the claiming command, for people.
        token: anything that no other claim has.
        now: seconds since the epoch.

    Raises:
        ShardsMerging: another command does the same at this moment.
        UnknownFormat: a later release wrote the store.
    """
    request = ClaimAllRequest(token, worker, now, FORMAT, HOLD_SECONDS)
    status, *found = space.script(reshard_scripts.CLAIM_ALL)(request, *range(shards))
    if status == b"format":
        raise UnknownFormat(
            f"model {space.model!r} in Redis has format {text(found[0])}; this release reads up to {FORMAT}. "
            "Use the release that wrote it"
        )
    if status == b"merging":
        raise shards_merging(space.model, text(found[0]))
    rows = [ClaimAllRow(*row) for row in found[0]]
    hold = space.script(reshard_scripts.HOLD)
    with _renewed(lambda: hold((), token, HOLD_SECONDS)):
        try:
            yield ModelClaim(space, token, {number: _claimed(number, row) for number, row in enumerate(rows)})
        finally:
            hold((), token, 0)


def shards_merging(model: str, worker: str) -> ShardsMerging:
    """The refusal of a claim while the shards are merged."""
    return ShardsMerging(
        f"the shards of model {model!r} are being merged by {worker}. If that command was killed, they can be claimed "
        f"again {HOLD_SECONDS} seconds after its end"
    )


def _claimed(number: int, row: ClaimAllRow) -> ClaimedShard:
    head = msgspec.json.decode(row.entry, type=ShardState) if row.entry else None
    if head is None and row.head_seq:
        raise CorruptVersion(f"shard {number} has a head {text(row.head_seq)} whose record is missing")
    return ClaimedShard(int(row.epoch), head, max(int(row.newest_seq), head.seq if head else 0) + 1)


@contextmanager
def _renewed(renew: Callable[[], Any]) -> Iterator[None]:
    """Call a function every `RENEW_SECONDS`, in a thread, for the time of a `with` block."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(RENEW_SECONDS):
            renew()  # an error ends the thread; the fences still protect the shards

    thread = threading.Thread(target=run, name="hold claims", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
