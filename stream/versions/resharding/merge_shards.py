"""`corrente versions merge-shards`: the newest states of all shards become the first states of fewer shards.

1. All shards are claimed, which fences their workers. From here on no state changes.
2. For each new shard the states of its predecessors are loaded, those whose number leaves the new one as its remainder,
   and merged.
3. The merged states are written, which changes nothing yet.
4. One script puts them in the place of all shards, as one version. Versions with the old shards stay, to be served.

If the command ends before the last step, in whatever way, the old shards are as they were.

This file decides these steps and what is checked before the last one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import NamedTuple

from stream.models.settings import ModelSettings
from stream.shard.counters import learned_events
from stream.shard.merging import ShardToMerge, merged_shard
from stream.state.checkpoint import Checkpoint
from stream.state.table_writer import TableWriter
from stream.versions.changed_settings.layouts import tables_for
from stream.versions.errors import CorruptVersion, UnknownVersion, WrongShardCount
from stream.versions.manifest import ShardState, Version
from stream.versions.resharding.model_claim import claim_model
from stream.versions.resharding.shard_count import shard_count
from stream.versions.salt import settings_of
from stream.versions.store import VersionStore


class Merged(NamedTuple):
    """The outcome: number of shards before and after, and the version of each."""

    shards_before: int
    shards_after: int
    before: Version
    after: Version


def merge_shards(
    store: VersionStore, to: int, *, visitor_salt: str, worker: str, code_version: str, now: Callable[[], float]
) -> Merged | None:
    """Merge the shards of a model into fewer.

    Args:
        store: of the model.
        to: number of shards that there shall be; it divides the present one.
        visitor_salt: of the model, which is needed to make its settings complete.
        worker: name of this process, for people.
        code_version: of this program.
        now: returns the seconds since the epoch.

    Returns:
        The versions before and after; None if there are as many shards already.

    Raises:
        UnknownVersion: the model has no version.
        WrongShardCount: the present number can't become that one.
        WrongSalt: the model has another visitor salt.
        ShardsMerging: another command is at it.
        Fenced, StaleParent: a worker took a shard in the meantime. Nothing was changed.
        CorruptVersion: a state is not what was published. Nothing was changed.
    """
    latest = store.latest()
    if latest is None:
        raise UnknownVersion(f"model {store.model!r} has no versions, so there are no shards to merge")
    shards = shard_count(store.space, latest)
    if shards == to:
        return None
    if shards % to:
        possible = ", ".join(str(number) for number in range(1, shards) if shards % number == 0)
        raise WrongShardCount(
            f"model {store.model!r} has {shards} {'shard' if shards == 1 else 'shards'}, which can't become {to}: "
            f"{f'possible are {possible}' if possible else 'shards can not be split'}"
        )
    settings = settings_of(latest.settings, visitor_salt)
    with claim_model(store.space, shards, worker=worker, token=uuid.uuid4().hex, now=now()) as claim:
        heads = {number: shard.head for number, shard in claim.shards.items() if shard.head is not None}
        before = store.latest() or latest
        states = {}
        for number in range(to):
            parents = {shard: head for shard, head in heads.items() if shard % to == number}
            if parents:
                checkpoint = _merged(store, settings, before, parents, shard=number, shards=to)
                _check(parents, checkpoint)
                states[number] = claim.write(number, checkpoint, parents)
        after = claim.replace(
            states, to, settings=settings.model_dump(mode="json"), code_version=code_version, now=now()
        )
    return Merged(shards, to, before, after)


def _merged(
    store: VersionStore,
    settings: ModelSettings,
    version: Version,
    parents: dict[int, ShardState],
    *,
    shard: int,
    shards: int,
) -> Checkpoint:
    """A snapshot of the shard that these states are merged into."""
    merging = {}
    for number, head in parents.items():
        tables = tables_for(store, settings, version, number, head)
        merging[number] = ShardToMerge(tables, store.load(number, head, TableWriter(tables)))
    return merged_shard(settings, merging, shard=shard, shards=shards).snapshot()


def _check(parents: dict[int, ShardState], checkpoint: Checkpoint) -> None:
    """Refuse a merge that would lose offsets or counts. Raises `CorruptVersion`."""
    offsets = sorted(offset for head in parents.values() for offset in head.offsets.values())
    events = sum(head.events for head in parents.values())
    learned = sum(map(learned_events, checkpoint.state["counters"].values()))
    if sorted(checkpoint.state["offsets"].values()) != offsets or learned != events:
        raise CorruptVersion(
            f"the merged state has {learned} events and offsets {checkpoint.state['offsets']}, and its shards have "
            f"{events} events and offsets {offsets}. Nothing was changed; this is a fault of the program"
        )
