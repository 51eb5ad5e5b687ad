"""Recovery: a shard is claimed, restored from its newest version, and started at the offsets of that state.

The committed offsets are read before the claim: they follow publishing, so a state in Redis that is behind them means
that Redis came back older than it was, and the claim begins a new lineage of versions. A state of which Redis has lost
a part is looked at again ten seconds later; then the shard goes on from the newest state that is whole, also in a new
lineage (`stream.versions.damage`).

This file decides what is restored and where Kafka starts: at the state's offset; at the beginning of a log from which
the state has never learned, although the topic has the same name; at the first record that Kafka still has, if
retention has overtaken the state (the loss is counted and logged); and not at all, if the state is ahead of the log, or
if the model's tables can't be brought to the settings of this worker.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Mapping
from typing import Any

from faust.types import TP
from redis.exceptions import RedisError

from stream.health.standing import Reason
from stream.kafka.fetch import SeekableConsumer
from stream.kafka.identity.witness import confirm_witnesses, with_witnesses
from stream.kafka.refusals import CannotLearn, WrongShards
from stream.kafka.shard_count import check_model
from stream.models.migration.growth import Refusal, refusals
from stream.models.migration.migrate import Migration
from stream.models.schema import table_specs
from stream.models.settings import CAPACITIES
from stream.runner.assignment import ShardAssignment, name_of
from stream.runner.open_shard import OpenShard, StartOffset
from stream.runner.resources import WorkerResources
from stream.settings import NESTED, PREFIX, Settings
from stream.shard.logs import LogId, Logs
from stream.shard.shard import Shard
from stream.state.processor import processor_family
from stream.state.table_writer import TableWriter
from stream.state.tables import Tables
from stream.versions import (
    Claim,
    LostData,
    ShardsMerging,
    ShardState,
    UnknownFormat,
    UnknownVersion,
    Version,
    VersionError,
    VersionStore,
    WrongNames,
    WrongSalt,
    WrongShardCount,
)
from stream.versions.changed_settings.layouts import layout_known, tables_for
from stream.versions.damage.healing import KEEP_KEYS
from stream.versions.damage.suspicion import DAMAGE_SECONDS
from stream.versions.salt import comparable

NEW_LINEAGE = "corrente versions new-lineage"
"""Command that lets a model begin anew with other settings."""


class WrongCluster(CannotLearn):
    """The model has learned from another Kafka cluster."""


class WrongModelSettings(CannotLearn):
    """The tables of the model can't be brought to this worker's settings."""


class EvictingRedis(CannotLearn):
    """This Redis may evict parts of versions."""


class KafkaLostRecords(RuntimeError):
    """These are not the logs that were learned from, or they are shorter than they were; nothing is learned."""


def check_settings(store: VersionStore, settings: Settings) -> None:
    """Refuse a model whose tables can't be brought to these settings, before any of its shards is claimed.

    Args:
        store: of the model's versions.
        settings: of this worker.

    Raises:
        WrongModelSettings: a shard of the newest version has larger capacities, or another value of `repeats`.
        RedisError: Redis can't be reached.
        VersionError: the newest version can't be read.
    """
    newest = store.latest()
    if newest is None:
        return
    own = settings.model.model_dump(mode="json")
    refused = {
        refusal.name: (refusal, learned[refusal.name])
        for learned in (layout_known(newest, state) for state in newest.shards.values())
        for refusal in refusals(learned, own)
    }
    if len(newest.shards) > 1 and not all(state.layout for state in newest.shards.values()):
        # Their capacities are those of the newest version, whichever shard published it.
        learned = comparable(newest.settings)
        for name in CAPACITIES:
            if name in learned and own[name] != learned[name]:
                right = f"{learned[name]} until this release has published every shard"
                refused[name] = (Refusal(name, own[name], right), learned[name])
    if refused:
        variables = {name: f"{PREFIX}MODEL{NESTED}{name}".upper() for name in refused}
        given = ", ".join(f"{variables[name]}={own[name]}" for name in refused)
        kept = " ".join(f"{variables[name]}={value}" for name, (_, value) in refused.items())
        right = "; ".join(f"{variables[name]} has to be {each.right}" for name, (each, _) in refused.items())
        raise WrongModelSettings(
            f"{given}: version {newest.number} of model {settings.model_name!r} has {kept}, and {right}. To learn with "
            f"the new settings from what Kafka has, stop all workers of the model and begin anew with {NEW_LINEAGE}"
        )


def check_eviction(store: VersionStore, settings: Settings) -> None:
    """Refuse a Redis that may evict any key, unless the settings allow it.

    Raises:
        EvictingRedis: it may.
        RedisError: Redis can't be reached.
    """
    policy = None if settings.allow_eviction else store.evicting_policy()
    if policy is not None:
        raise EvictingRedis(
            f"maxmemory-policy {policy}: the Redis of CORRENTE_REDIS may evict any key when its memory runs short, and "
            f"a version of model {settings.model_name!r} without one of its parts is lost. Set maxmemory-policy "
            "noeviction (or a volatile policy), or name another Redis; CORRENTE_ALLOW_EVICTION=true learns all the same"
        )


def check_cluster(cluster: str, store: VersionStore, settings: Settings) -> None:
    """Refuse a model that learns from another Kafka cluster, before any of its shards is claimed.

    A staging system with production's Redis and the default model name would otherwise fence production's workers.

    Args:
        cluster: id of the cluster that this worker reads; nothing is checked if it is empty.
        store: of the model's versions.
        settings: of this worker.

    Raises:
        WrongCluster: its shards were learned from another one.
        RedisError: Redis can't be reached.
        VersionError: the newest version can't be read.
    """
    newest = store.latest() if cluster and cluster != settings.moved_to_cluster else None
    if newest is None:
        return
    for shard, state in newest.shards.items():
        others: set[str] = set()
        with contextlib.suppress(UnknownVersion):  # its record is lost, and its worker heals it
            others = Logs.from_state(store.state(shard, state)).clusters() - {cluster}
        if others:
            raise WrongCluster(
                f"model {settings.model_name!r} in this Redis learns from the Kafka cluster {min(others)!r}, and "
                f"{settings.kafka} is {cluster!r}. Set another CORRENTE_MODEL_NAME or CORRENTE_REDIS; if the model is "
                f"to move to this cluster, stop its workers and set CORRENTE_MOVED_TO_CLUSTER={cluster}"
            )


def check_model_names(store: VersionStore) -> None:
    """Refuse a model whose names this process can't bring to its own, before any of its shards is claimed.

    It would otherwise fence a worker that could go on.

    Raises:
        WrongNames: a shard of the newest version has such names.
        RedisError: Redis can't be reached.
        VersionError: the newest version can't be read.
    """
    newest = store.latest()
    for shard, state in (newest.shards if newest else {}).items():
        with contextlib.suppress(UnknownVersion):  # its record is lost, and its worker heals it
            store.names(shard, state)


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
        "max_future_seconds": settings.max_future_seconds,
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
    stored = comparable(newest.settings) if newest else None
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


async def start_offsets(
    assignment: ShardAssignment,
    shard: Shard,
    bound: Mapping[TP, LogId],
    consumer: SeekableConsumer,
    resources: WorkerResources,
    log: Any,
) -> dict[TP, StartOffset]:
    """Bind a shard to the logs that Kafka has now, and find the offset at which each of them starts.

    A log that the shard has never had starts at its beginning, whatever it is called; records that retention removed
    from it before are no loss. A log that the shard had, also if nothing came in it then, has lost what it no longer
    has.

    Args:
        assignment: the shard's topic-partitions.
        shard: restored, or as it is; its logs are bound.
        bound: identity of the log of each topic-partition.
        consumer: gives the range of offsets that Kafka holds.
        resources: for metrics, and settings in messages.
        log: of this shard.

    Returns:
        The start and the end of each topic-partition, in the order of the assignment.

    Raises:
        KafkaError, IdentitiesUnknown: no broker answered.
        KafkaLostRecords: the state is ahead of Kafka, or a topic is another one and may not be.
    """
    ranges = await consumer.ranges(assignment.partitions)
    ids, noted = resources.topic_ids, resources.witnesses
    bound = await with_witnesses(assignment.origins, shard.logs, bound, ranges, ids, noted)
    starts = {}
    for tp, origin in assignment.origins.items():
        first, end = ranges[tp]
        before, learned = shard.logs.id(origin), shard.logs.offset(origin)
        if resources.settings.other_topics == "refuse" and shard.logs.is_other(origin, bound[tp], end=end):
            raise KafkaLostRecords(
                f"{name_of(tp)} is not the log that model {resources.settings.model_name!r} has learned up to offset "
                f"{learned}, and CORRENTE_OTHER_TOPICS=refuse: found {_shown(bound[tp])}, learned from "
                f"{_shown(before)}. "
                "Name the old topic, set another CORRENTE_MODEL_NAME, or CORRENTE_OTHER_TOPICS=learn"
            )
        known = shard.logs.knows(origin, bound[tp], end=end)
        if shard.logs.bind(origin, bound[tp], end=end):
            resources.metrics.other_topics.labels(assignment.topic_of(tp)).inc()
            log.warning(
                "another topic than before; it is learned from where this model left it, or from its beginning",
                topic=tp.topic,
                kafka_partition=tp.partition,
                before=_shown(before),
                now=_shown(bound[tp]),
                learned_before=learned,
                offset=shard.logs.offset(origin),
                mend="nothing, if that was meant; with CORRENTE_OTHER_TOPICS=refuse the shard stands still instead",
            )
        offset = shard.logs.offset(origin)
        if offset > end:
            raise KafkaLostRecords(
                f"model {resources.settings.model_name!r} has learned {name_of(tp)} up to offset {offset}, but Kafka's "
                f"topic ends at {end}: it lost records. Nothing is learned until the topic has them again; to learn "
                "what it has now, set another CORRENTE_MODEL_NAME"
            )
        lost = first - offset if known and offset < first else 0
        if lost:
            log_lost(assignment, tp, offset, first, resources, log)
        elif offset < first:
            log.info(
                "Kafka no longer has the beginning of a topic; it is learned from its first record",
                topic=tp.topic,
                kafka_partition=tp.partition,
                first_kept=first,
            )
        if offset < first:
            shard.logs.advance(origin, first)  # counted once, also if the shard is opened again before it learns
        starts[tp] = StartOffset(max(offset, first), end, lost)
        if bound[tp].witness:
            noted[tp] = bound[tp].witness
    return starts


async def confirm_logs(assignment: ShardAssignment, opened: OpenShard, resources: WorkerResources) -> None:
    """Have Kafka confirm that the logs of a shard that is running are the ones that it was started from.

    Raises:
        OtherTopic: one is another one.
        IdentitiesUnknown, KafkaError: no broker answered.
    """
    ids, origins, logs = resources.topic_ids, assignment.origins, opened.shard.logs
    await ids.confirm(opened.bound)
    await confirm_witnesses(origins, logs, opened.bound, resources.consumer(), ids, resources.witnesses)


def _shown(found: LogId | None) -> str:
    """A log for people."""
    if found is None:
        return "a log of unknown identity"
    return (
        f"{found.name}-{found.partition}, topic id {found.topic_id or 'unknown'}, cluster {found.cluster or 'unknown'}"
    )


def log_lost(
    assignment: ShardAssignment, tp: TP, first_lost: int, first_kept: int, resources: WorkerResources, log: Any
) -> None:
    """Count and log the offsets from `first_lost` to before `first_kept`, which retention removed unlearned."""
    resources.metrics.lost.labels(assignment.topic_of(tp)).inc(first_kept - first_lost)
    log.error(
        "Kafka's retention removed records before they were learned; raise the topic's retention.ms or "
        "retention.bytes, or add workers",
        topic=tp.topic,
        kafka_partition=tp.partition,
        first_lost=first_lost,
        first_kept=first_kept,
        records=first_kept - first_lost,
    )


def cause_of(error: Exception, resources: WorkerResources) -> tuple[Reason, str, str]:
    """Reason, detail and remedy of an error that keeps a shard from being opened."""
    detail = str(error) or repr(error)
    settings = resources.settings
    if isinstance(error, RedisError):
        return "redis", detail, "start Redis, or check CORRENTE_REDIS"
    if isinstance(error, EvictingRedis):
        return "redis", detail, "set maxmemory-policy noeviction in Redis; CORRENTE_ALLOW_EVICTION=true overrules this"
    if isinstance(error, WrongModelSettings):
        return "version", detail, "set the settings that the detail names, for all workers of the model, or begin anew"
    if isinstance(error, KafkaLostRecords | WrongCluster):
        return "topics", detail, "bring the topic back, or set another CORRENTE_MODEL_NAME"
    if isinstance(error, WrongShards | WrongShardCount):
        return "version", detail, "set the CORRENTE_SHARDS that the detail names, and start the worker again"
    if isinstance(error, WrongSalt):
        return "version", detail, "set CORRENTE_MODEL__VISITOR_SALT to the salt of the model's other workers"
    if isinstance(error, UnknownFormat):
        return "version", detail, "start the release that wrote the model, or a later one"
    if isinstance(error, WrongNames):
        return "version", detail, f"start the release that learned the model, or begin anew with {NEW_LINEAGE}"
    if isinstance(error, LostData):
        return "version", detail, f"none: if it is still so in {DAMAGE_SECONDS:.0f} seconds, an older state is taken"
    if isinstance(error, ShardsMerging):
        return "version", detail, "none: the shards are claimed again when they are merged"
    if isinstance(error, VersionError):
        remedy = "restore a copy of Redis, or set another CORRENTE_MODEL_NAME to learn what Kafka has"
        return "version", detail, f"{remedy}; corrente versions list shows the versions that there are"
    return "kafka", detail, f"start Kafka at {settings.kafka}, or check CORRENTE_KAFKA"
