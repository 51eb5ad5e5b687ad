"""Keys that follow from others: the newest version, the lists of versions and of states, the ids, and the aliases.

A Redis that has lost one of these still has every version, and nothing would find them: a worker would take the model
for a new one and give numbers twice. This file decides which keys are rebuilt, and from what. The shards' heads are no
index: they are decided in `stream.versions.damage.healing`.
"""

from __future__ import annotations

import hashlib

import msgspec

from stream.versions.aliases import Aliases, AliasMove
from stream.versions.errors import CorruptVersion, UnknownFormat
from stream.versions.manifest import read_manifest
from stream.versions.storage import heal_scripts
from stream.versions.storage.namespace import Namespace, text

MOST_MOVES = 10_000
"""Moves of aliases that are kept."""


def mend_index(space: Namespace, partition: int) -> list[str]:
    """Rebuild what is lost of a model's index and of a shard's; return the keys, without the model's prefix.

    Nothing is changed that is there. Two workers may call it at once.
    """
    redis, keys = space.redis, space.keys
    mended = []
    if redis.exists(keys.ids) and not redis.exists(keys.versions):
        mended += _mend_versions(space)
    _put_changed_manifest_aside(space)
    status, *_ = space.script(heal_scripts.MEND_LATEST)()
    if status == b"mended":
        mended.append("latest")
    if redis.exists(keys.versions) and not redis.exists(keys.ids):
        mended += _mend_ids(space)
    if redis.exists(keys.alias_history) and not redis.exists(keys.aliases):
        mended += _mend_aliases(space)
    if redis.hget(keys.head(partition), "seq") and not redis.exists(keys.states(partition)):
        mended += _mend_states(space, partition)
    return mended


def _put_changed_manifest_aside(space: Namespace) -> None:
    """Rename the manifest of the newest version if its bytes are not those that the version's id names."""
    redis, keys = space.redis, space.keys
    if (number := redis.hget(keys.latest, "number")) is None:
        return
    key = keys.version(int(number))
    manifest, version_id = redis.hmget(key, ["manifest", "id"])
    if manifest is None or version_id is None or hashlib.sha256(manifest).hexdigest() == text(version_id):
        return
    redis.hset(key, "changed_manifest", manifest)
    redis.hdel(key, "manifest")


def _mend_versions(space: Namespace) -> list[str]:
    """The list of versions, from their ids and manifests."""
    redis, keys = space.redis, space.keys
    for number in map(int, redis.hvals(keys.ids)):
        manifest = redis.hget(keys.version(number), "manifest")
        if manifest is None:
            continue
        try:
            redis.zadd(keys.versions, {str(number): read_manifest(manifest).created_at}, nx=True)
        except (CorruptVersion, UnknownFormat):  # it can't be read, so it need not be found
            continue
    return ["versions"]


def _mend_ids(space: Namespace) -> list[str]:
    """The ids of versions, from the versions."""
    redis, keys = space.redis, space.keys
    for number in map(int, redis.zrange(keys.versions, 0, -1)):
        if (version_id := redis.hget(keys.version(number), "id")) is not None:
            redis.hsetnx(keys.ids, text(version_id), number)
    return ["ids"]


def _mend_aliases(space: Namespace) -> list[str]:
    """The aliases, from the last move of each; those that were taken away stay away."""
    redis, keys = space.redis, space.keys
    last: dict[str, AliasMove] = {}
    for move in Aliases(space).history(MOST_MOVES):  # newest first
        last.setdefault(move.name, move)
    found = {
        name: move.to for name, move in last.items() if move.to is not None and redis.exists(keys.version(move.to))
    }
    for name, number in found.items():
        redis.hsetnx(keys.aliases, name, number)
    return ["aliases"] if found else []


def _mend_states(space: Namespace, partition: int) -> list[str]:
    """The list of a shard's states: those of versions, and those that one of them is encoded upon."""
    redis, keys = space.redis, space.keys
    of_versions = [redis.hget(keys.version(int(number)), "shards") for number in redis.zrange(keys.versions, 0, -1)]
    shards = [msgspec.json.decode(each, type=dict[int, int], strict=False) for each in of_versions if each]
    todo = {each[partition] for each in shards if partition in each} | {int(redis.hget(keys.head(partition), "seq"))}
    found: set[int] = set()
    while todo:
        seq = todo.pop()
        parent = redis.hget(keys.state(partition, seq), "parent")
        if parent is None:  # there is no such record
            continue
        found.add(seq)
        todo |= ({int(parent)} if parent else set()) - found
    if found:
        redis.zadd(keys.states(partition), {str(seq): seq for seq in found})
    return [f"shard:{partition}:states"] if found else []
