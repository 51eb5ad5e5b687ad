"""Healing: a shard whose newest state is damaged goes on from the newest one that is whole.

The head of the shard moves back to that state, or away if there is none, in one atomic step under the worker's claim.
The damaged version stays under an alias, for people: `damaged-shard-0` for shard 0. The numbers of states and versions
go on rising, and a new lineage of versions begins, so no version takes the place of another one.

This file decides from which state a shard goes on. When the newest one counts as damaged is decided in
`stream.versions.damage.suspicion`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from stream.state.table_writer import DeltaSink
from stream.versions.announcements import Announcement
from stream.versions.damage.holes import forget_lost_keyframes, whole_states
from stream.versions.errors import Fenced, LostData, StaleParent, UnknownVersion
from stream.versions.manifest import ShardState
from stream.versions.publishing import Claim, lineage_of
from stream.versions.reading import StateReader
from stream.versions.storage import heal_scripts
from stream.versions.storage.namespace import Namespace, text
from stream.versions.storage.records import absent_chunks, read_records
from stream.versions.storage.requests import SetAsideRequest

DAMAGED_ALIAS = "damaged-shard-{}"
"""Alias of the last version of a shard that could not be read."""

KEEP_KEYS = "find out which program deletes keys of this Redis; set maxmemory-policy noeviction and appendonly yes"
"""Remedy of whatever Redis has lost. Learning goes on without it."""


class WholeState(NamedTuple):
    """A state that was read in full: what it is, its readable part, and the sink that its tables were written to."""

    state: ShardState
    readable: dict[str, Any]
    sink: Any


def newest_whole_state(
    space: Namespace, reader: StateReader, partition: int, new_sink: Callable[[ShardState], DeltaSink]
) -> WholeState | None:
    """The newest state of a shard of which every part is there and is what was written; None if there is none.

    Args:
        space: of the model.
        reader: of its states.
        partition: the shard.
        new_sink: makes an empty place for the tables of a state, at each attempt.
    """
    damaged: set[str] = set()  # chunks whose bytes are others, which only reading shows
    unreadable: set[int] = set()
    while True:
        records = read_records(space, partition)
        lost = absent_chunks(space, records.values()) | damaged
        forget_lost_keyframes(space, partition, records, lost)
        seq = next((seq for seq in whole_states(records, lost) if seq not in unreadable), None)
        if seq is None:
            return None
        try:
            entry = space.redis.hget(space.keys.state(partition, seq), "entry")
            if entry is None:
                raise LostData(f"state {seq} of shard {partition} is gone")
            state = msgspec.json.decode(entry, type=ShardState)
            sink = new_sink(state)
            return WholeState(state, reader.load(partition, state, sink), sink)
        except LostData as error:
            damaged |= {error.chunk} if error.chunk else set()
            unreadable |= set() if error.chunk else {seq}
        except UnknownVersion:  # it was dropped meanwhile
            unreadable.add(seq)


def set_aside(
    space: Namespace, claim: Claim, state: ShardState | None, *, who: str, why: str, now: float, known_number: int
) -> None:
    """Move a shard's head from the damaged state to a whole one, in a new lineage; the claim follows.

    Args:
        space: of the model.
        claim: of the shard.
        state: the one to go on from; None to go on from empty tables.
        who, why: for the history of aliases.
        now: seconds since the epoch.
        known_number: the highest version number that this worker has seen.

    Raises:
        Fenced: another worker has claimed the shard.
        StaleParent: the head has changed meanwhile.
    """
    alias = DAMAGED_ALIAS.format(claim.partition)
    head = claim.head.seq if claim.head else claim.lost_head
    number = _version_of(space, claim.partition, head)
    lineage = lineage_of(f"{claim.token} {'' if head is None else head}")
    request = SetAsideRequest(
        partition=claim.partition,
        epoch=claim.epoch,
        token=claim.token,
        head_seq="" if head is None else head,
        seq="" if state is None else state.seq,
        digest="" if state is None else state.digest,
        lineage=lineage,
        floor=known_number,
        alias=alias,
        alias_json=json.dumps(alias),
        number="" if number is None else number,
        who_json=json.dumps(who),
        why_json=json.dumps(why),
        at=repr(now),
        announcement=msgspec.json.encode(Announcement(number, alias=alias)),
    )
    status, *_ = space.script(heal_scripts.SET_ASIDE)(request)
    if status == b"fenced":
        raise Fenced(f"shard {claim.partition} was claimed by another worker before it could be healed")
    if status != b"ok":
        raise StaleParent(f"the head of shard {claim.partition} has changed before it could be healed")
    claim.head, claim.lost_head = state, None
    claim.lineage, claim.new_lineage = lineage, True


def _version_of(space: Namespace, partition: int, seq: int | None) -> int | None:
    """Number of the version that was published with a state, or of the newest one if the state's record is lost."""
    number = space.redis.hget(space.keys.state(partition, seq), "version") if seq is not None else None
    number = number or space.redis.hget(space.keys.latest, "number")
    return int(text(number)) if number else None
