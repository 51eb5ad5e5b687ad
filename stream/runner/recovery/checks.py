"""Checks before a shard is claimed: a worker that can't go on with a model doesn't fence the one that can.

This file decides which models, clusters and stores are refused, and with which words.
"""

from __future__ import annotations

import contextlib

from stream.models.migration.growth import Refusal, refusals
from stream.models.settings import CAPACITIES
from stream.runner.recovery.errors import NEW_LINEAGE, EvictingRedis, WrongCluster, WrongModelSettings
from stream.settings import NESTED, PREFIX, Settings
from stream.shard.logs import Logs
from stream.versions import (
    UnknownVersion,
    VersionStore,
)
from stream.versions.changed_settings.layouts import layout_known
from stream.versions.salt import comparable


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
