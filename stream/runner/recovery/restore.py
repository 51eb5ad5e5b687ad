"""Restoring: a shard is claimed, and made from its newest version.

The committed offsets are read before the claim: they follow publishing, so a state in Redis that is behind them means
that Redis came back older than it was, and the claim begins a new lineage of versions. A state of which Redis has lost
a part is looked at again ten seconds later; then the shard goes on from the newest state that is whole, also in a new
lineage (`stream.versions.damage`).

This file decides what is restored.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from faust.types import TP

from stream.kafka.fetch import SeekableConsumer
from stream.kafka.shard_count import check_model
from stream.models.migration.migrate import Migration
from stream.models.schema import table_specs
from stream.runner.assignment import ShardAssignment
from stream.runner.recovery.checks import check_cluster, check_eviction, check_model_names, check_settings
from stream.runner.resources import WorkerResources
from stream.settings import NESTED, PREFIX
from stream.shard.logs import LogId
from stream.shard.shard import Shard
from stream.state.processor import processor_family
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import (
    Claim,
    LostData,
    ShardState,
    Version,
)
from stream.versions.changed_settings.layouts import tables_for
from stream.versions.damage.healing import KEEP_KEYS
from stream.versions.salt import comparable


async def restore(
    assignment: ShardAssignment,
    bound: Mapping[TP, LogId],
    consumer: SeekableConsumer,
    resources: WorkerResources,
    log: Any,
) -> tuple[Claim, Shard]:
    """Claim a shard, which fences its former owner, and load its newest state.

    Raises:
        KafkaError: the committed offsets can't be read.
        RedisError: Redis can't be reached.
        VersionError: the newest state can't be read.
        EvictingRedis: parts of versions may be evicted. The shard was not claimed.
        WrongShards: the model has another number of shards. The shard was not claimed.
        WrongCluster, WrongModelSettings: this worker can't go on with the model. The shard was not claimed.
        WrongNames: the model has features that this process can't bring to its own. The shard was not claimed.
    """
    started = resources.clock.monotonic()
    committed = await consumer.committed(assignment.partitions)
    known = assignment.by_origin(committed)
    cluster = next(iter(bound.values())).cluster
    await resources.with_redis(lambda: check_eviction(resources.store, resources.settings))
    await resources.with_redis(lambda: _mend_index(assignment.shard, resources, log))
    await resources.with_redis(lambda: check_model(resources.store, resources.settings.model_name, assignment.shards))
    await resources.with_redis(lambda: check_settings(resources.store, resources.settings))
    await resources.with_redis(lambda: check_cluster(cluster, resources.store, resources.settings))
    await resources.with_redis(lambda: check_model_names(resources.store))
    claim, shard = await resources.with_redis(lambda: _claim_and_load(assignment, known, resources, log))
    resources.metrics.restores.inc()
    resources.metrics.restore_seconds.observe(resources.clock.monotonic() - started)
    return claim, shard


def _claim_and_load(
    assignment: ShardAssignment, known_offsets: Mapping[str, int], resources: WorkerResources, log: Any
) -> tuple[Claim, Shard]:
    claim = resources.store.claim(
        assignment.shard,
        worker=resources.name,
        token=uuid.uuid4().hex,
        now=resources.clock.time(),
        known_offsets=known_offsets,
        known_number=resources.newest_number,
        visitor_salt=resources.settings.model.visitor_salt,
        shards=assignment.shards,
    )
    if claim.new_lineage:
        log.warning(
            "Redis is older than what was published before, or may be; a new lineage of versions begins",
            reason=claim.why_new,
            lineage=claim.lineage,
            committed=dict(known_offsets),
            found=claim.head.offsets if claim.head else {},
            mend="nothing, if Redis was restored on purpose; otherwise let it keep its data (appendonly yes)",
        )
    settings = resources.settings
    options: dict[str, Any] = {
        "partition": assignment.shard,
        "shards": assignment.shards,
        "fields": settings.fields,
        "mapping": settings.mapping_plan,
        "max_future_seconds": settings.max_future_seconds,
        "schemas": resources.schemas.known if resources.schemas is not None else None,
    }
    newest = resources.store.latest()
    try:
        found = _load(claim, newest, resources)
    except LostData as error:
        head = claim.head.digest if claim.head else f"state {claim.lost_head}"
        if not resources.suspicions.confirm(assignment.shard, head, resources.clock.monotonic()):
            raise
        found = _heal(claim, newest, error, resources, log)
    resources.suspicions.clear(assignment.shard)
    if found is None:
        return claim, Shard(settings.model, **options)
    stored = comparable(newest.settings) if newest else {}
    shard = Shard.restore(settings.model, *found, version_settings=stored, **options)
    if shard.migration:
        log_migration(shard.migration, log)
    _warn_of_numbers(shard, found[1], log)
    return claim, shard


def _load(claim: Claim, newest: Version | None, resources: WorkerResources) -> tuple[Tables, Mapping[str, Any]] | None:
    """Tables and readable part of the claim's head; None for a shard that has none.

    Raises:
        LostData: a part of it is missing, or is not what was written.
    """
    if claim.lost_head is not None:
        raise LostData(f"the record of state {claim.lost_head}, the newest of shard {claim.partition}, is missing")
    if claim.head is None:
        return None
    warm = resources.follower.take(claim.partition, claim.head) if resources.follower is not None else None
    if warm is not None:
        return warm
    tables = _empty_tables(newest, claim.partition, claim.head, resources)
    return tables, resources.store.load(claim.partition, claim.head, TableWriter(tables))


def _empty_tables(newest: Version | None, shard: int, state: ShardState, resources: WorkerResources) -> Tables:
    """Empty tables of the shapes that a state has."""
    if newest is None:
        return Tables(table_specs(resources.settings.model))
    return tables_for(resources.store, resources.settings.model, newest, shard, state)


def _mend_index(shard: int, resources: WorkerResources, log: Any) -> None:
    """Rebuild keys of Redis that are lost and that follow from others."""
    if mended := resources.store.mend_index(shard):
        resources.metrics.healed.labels("index").inc()
        log.error("Redis has lost keys of the model; they are rebuilt from others", keys=mended, mend=KEEP_KEYS)


def _heal(
    claim: Claim, newest: Version | None, error: LostData, resources: WorkerResources, log: Any
) -> tuple[Tables, Mapping[str, Any]] | None:
    """Go on from the newest state that is whole; None if none is, and learning begins with what Kafka has.

    Raises:
        Fenced, StaleParent: another worker owns the shard now.
    """
    damaged = claim.head.seq if claim.head else claim.lost_head
    made: list[Tables] = []

    def new_sink(state: ShardState) -> TableWriter:
        made[:] = [_empty_tables(newest, claim.partition, state, resources)]
        return TableWriter(made[0])

    whole = resources.store.newest_whole_state(claim.partition, new_sink)
    state = whole.state if whole else None
    if whole is not None and state == claim.head:
        resources.metrics.healed.labels("index").inc()
        log.error("Redis has lost a keyframe, and nothing else: deltas lead to the same state", mend=KEEP_KEYS)
        return made[0], whole.readable
    resources.store.set_aside(
        claim,
        state,
        who=resources.name,
        why=f"Redis has lost a part of state {damaged}: {error}",
        now=resources.clock.time(),
        known_number=resources.newest_number,
    )
    resources.metrics.healed.labels("older_state" if state else "beginning").inc()
    log.error(
        "Redis has lost a part of the newest state; learning goes on from the newest whole one, in a new lineage"
        if state
        else "Redis has lost a part of every state; learning begins anew with what Kafka has, in a new lineage",
        damaged=damaged,
        found=str(error),
        state=state.seq if state else None,
        offsets=state.offsets if state else {},
        lineage=claim.lineage,
        mend=KEEP_KEYS,
    )
    return (made[0], whole.readable) if whole else None


def log_migration(migration: Migration, log: Any) -> None:
    """Log what a shard goes on with that its state did not have."""
    for name, (before, after) in migration.grown.items():
        log.info(
            "the model goes on with a larger capacity",
            setting=f"{PREFIX}MODEL{NESTED}{name}".upper(),
            before=before,
            after=after,
        )
    if migration.new_sources:
        log.info("the model goes on with new sources, which begin to learn now", sources=list(migration.new_sources))
    if migration.dropped_sources:
        log.warning(
            "the model goes on without sources that it had, and what they learned is dropped",
            sources=list(migration.dropped_sources),
            mend="nothing, if that was meant; otherwise install their packages in every worker, where they begin anew",
        )


def _warn_of_numbers(shard: Shard, state: Mapping[str, Any], log: Any) -> None:
    """Say whether this worker may come to other bits than the one before, and which numbers it had to leave out."""
    before, here = state.get("processor"), processor_family()
    if before is not None and before != here:
        log.warning(
            "the state was learned on another family of processors; last digits will differ from a replay there",
            before=before,
            here=here,
            mend="nothing, if equal bits don't matter to you; otherwise run all workers of a model on one family",
        )
    if shard.mended:
        log.warning(
            "the state held numbers that are not finite; they are 0 now",
            numbers=shard.mended,
            mend="nothing; the release that wrote the state did not check them, and this one does",
        )
