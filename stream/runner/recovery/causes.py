"""Causes: the reason and the remedy that are shown while a shard can't be opened.

This file decides both for each kind of error.
"""

from __future__ import annotations

from redis.exceptions import RedisError

from stream.health.standing import Reason
from stream.kafka.refusals import WrongShards
from stream.runner.recovery.errors import NEW_LINEAGE, EvictingRedis, KafkaLostRecords, WrongCluster, WrongModelSettings
from stream.runner.resources import WorkerResources
from stream.versions import (
    LostData,
    ShardsMerging,
    UnknownFormat,
    VersionError,
    WrongNames,
    WrongSalt,
    WrongShardCount,
)
from stream.versions.damage.suspicion import DAMAGE_SECONDS


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
