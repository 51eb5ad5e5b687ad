"""Checks of the model and of Redis before a worker joins its group.

A worker with the wrong settings would take shards from workers that learn. So whatever can be found out before is:
whether the model learns from this Kafka cluster, in how many shards, with tables of which size, and whether Redis may
evict what is published.

This file decides what is checked, what is only logged, and what follows if Redis or Kafka doesn't answer.
"""

from __future__ import annotations

from faust.types import TP
from redis.exceptions import RedisError
from structlog import get_logger

from stream.kafka.identity.errors import IdentitiesUnknown
from stream.kafka.shard_count import check_model
from stream.runner.recovery.checks import check_cluster, check_eviction, check_settings
from stream.runner.resources import WorkerResources
from stream.versions import VersionError, salt_problem

log = get_logger(__name__)


async def check_versions(resources: WorkerResources, topics: frozenset[str]) -> None:
    """Refuse a Redis that evicts, and a model of other shards, of another Kafka cluster or with tables of another size.

    Without an answer, each shard asks again before it is claimed.

    Args:
        resources: store, identities of topics and settings.
        topics: names of the topics that are there.

    Raises:
        EvictingRedis: Redis may evict parts of versions.
        WrongShards, WrongModelSettings, WrongCluster: the model's newest version was learned otherwise.
    """
    settings, store = resources.settings, resources.store
    try:
        await resources.with_redis(lambda: check_eviction(store, settings))
        await resources.with_redis(lambda: check_model(store, settings.model_name, settings.shards))
        await resources.with_redis(lambda: check_settings(store, settings))
        found = await resources.topic_ids.look_up(TP(topic, 0) for topic in topics)
        cluster = next(iter(found.values())).cluster
        await resources.with_redis(lambda: check_cluster(cluster, store, settings))
    except (RedisError, VersionError, IdentitiesUnknown) as error:
        log.warning("can't see yet whether the model learns from this Kafka", error=str(error) or repr(error))


async def log_problems(resources: WorkerResources) -> None:
    """Log what is dangerous in the configuration of Redis, and a visitor salt that can be guessed."""
    settings = resources.settings
    try:
        for problem in await resources.with_redis(resources.store.redis_problems):
            log.warning("Redis may lose versions", caution=problem)
        if unannounced := await resources.with_redis(resources.store.announcing_problem):
            log.warning("Redis refuses announcements", caution=unannounced)
    except RedisError as error:
        log.warning("Redis does not answer yet", redis=str(settings.redis_address), error=str(error))
    if salt := salt_problem(settings.model.visitor_salt):
        log.warning("the visitor salt is weak", problem=salt)
