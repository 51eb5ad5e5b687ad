"""`corrente versions new-lineage`: a model begins anew, with settings that it can't go on with.

1. The workers have to be stopped: one that still reports would go on from the new states with its old settings.
2. The version that is served is pinned, so that servers answer from it until the new lineage has caught up.
3. All shards are claimed, which fences workers that did not report.
4. One script puts empty shards with the settings of this process in the place of all shards, as the first version of a
   new lineage. Older versions stay, to be served.

A worker then learns the topics from the beginning of what Kafka has.

This file decides these steps and what is checked before the last one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import NamedTuple

from stream.models.settings import ModelSettings
from stream.shard.shard import Shard
from stream.versions.aliases import PINNED
from stream.versions.errors import UnknownVersion, WorkersRunning
from stream.versions.manifest import Version
from stream.versions.resharding.model_claim import claim_model
from stream.versions.resharding.shard_count import shard_count
from stream.versions.salt import check_salt
from stream.versions.storage.reports import REPORT_SECONDS, SILENT_SECONDS
from stream.versions.store import VersionStore

SILENCE_SECONDS = 2 * REPORT_SECONDS + 1.0
"""Time after which a worker that has not reported again is taken for stopped."""


class Begun(NamedTuple):
    """The outcome: the version before, the first of the new lineage, and the one that is pinned, if any."""

    before: Version
    after: Version
    pinned: int | None


def begin_lineage(
    store: VersionStore,
    settings: ModelSettings,
    shards: int,
    *,
    pin: bool,
    who: str,
    why: str,
    code_version: str,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> Begun:
    """Let a model begin anew.

    Args:
        store: of the model.
        settings: with which it is learned from now on.
        shards: number of shards that it has from now on.
        pin: True if servers go on answering from the version that they answer from now.
        who, why: for the history of aliases; `who` is also the name of this process.
        code_version: of this program.
        now: returns the seconds since the epoch.
        sleep: waits for some seconds.

    Raises:
        UnknownVersion: the model has no version.
        WrongSalt: the model has another visitor salt, so servers could not answer from both lineages.
        WorkersRunning: a worker reports a shard.
        ShardsMerging: another command is at it.
        Fenced, StaleParent: a worker took a shard in the meantime. Nothing was changed.
        CorruptVersion: Redis lost what was written. Nothing was changed.
    """
    served, before = store.served(), store.latest()
    if served is None or before is None:
        raise UnknownVersion(
            f"model {store.model!r} has no versions, so its workers begin with whatever settings they have"
        )
    check_salt(before.settings, settings.visitor_salt)
    _check_stopped(store, sleep)
    pinned = store.aliases().get(PINNED)
    if pin and pinned is None:
        store.move_alias(PINNED, served.number, who=who, why=why, now=now())
    try:
        after = _replace(store, settings, before, shards, who=who, code_version=code_version, now=now)
    except BaseException:
        if pin and pinned is None:
            store.move_alias(PINNED, None, who=who, why="the new lineage was not begun", now=now())
        raise
    return Begun(before, after, store.aliases().get(PINNED))


def _check_stopped(store: VersionStore, sleep: Callable[[float], None]) -> None:
    """Refuse to go on beside workers that report. Raises `WorkersRunning`."""
    if not store.reporting(SILENT_SECONDS):
        return
    sleep(SILENCE_SECONDS)
    if running := store.reporting(SILENCE_SECONDS):
        raise WorkersRunning(
            f"model {store.model!r} is learned by {', '.join(running)}. Stop all workers of the model, also those that "
            "stand by, and run the command again; nothing was changed"
        )


def _replace(
    store: VersionStore,
    settings: ModelSettings,
    before: Version,
    shards: int,
    *,
    who: str,
    code_version: str,
    now: Callable[[], float],
) -> Version:
    """Put empty shards in the place of all shards, in a new lineage."""
    token = uuid.uuid4().hex
    claimed = max(shards, shard_count(store.space, before))
    with claim_model(store.space, claimed, worker=who, token=token, now=now()) as claim:
        states = {
            number: claim.write(number, Shard(settings, partition=number, shards=shards).snapshot(), {})
            for number in range(shards)
        }
        claim.begin_lineage()
        return claim.replace(
            states, shards, settings=settings.model_dump(mode="json"), code_version=code_version, now=now()
        )
