"""The number of shards of a model, and the refusal of a worker that is set to another one.

The store has the number once a worker has claimed a shard with it, or a merge has set it. A model of release 0.1 has no
number there; its states say how many partitions, and so shards, there were when they were written.

This file decides how many shards a model has, and what a refusal says.
"""

from __future__ import annotations

import msgspec

from stream.versions.errors import WrongShardCount
from stream.versions.manifest import Version
from stream.versions.storage.namespace import Namespace


def shard_count(space: Namespace, newest: Version) -> int:
    """The number of shards of a model.

    Args:
        space: of the model.
        newest: its newest version.
    """
    redis, keys = space.redis, space.keys
    known = redis.hget(keys.store, "shards")
    if known is not None:
        return int(known)
    encoded = [redis.hget(keys.state(shard, state.seq), "state") for shard, state in newest.shards.items()]
    stated = [int(msgspec.json.decode(state).get("shards", 0)) for state in encoded if state]
    return max([1, 1 + max(newest.shards, default=0), *stated])


def check_shard_count(space: Namespace, newest: Version | None, shards: int) -> None:
    """Refuse a worker that is set to another number of shards than the model has.

    Args:
        space: of the model.
        newest: its newest version; a model without any may have every number.
        shards: the number that the worker is set to.

    Raises:
        WrongShardCount: the numbers differ; the text says what to set or to run.
    """
    if newest is not None and (known := shard_count(space, newest)) != shards:
        raise wrong_shard_count(space.model, known, shards)


def wrong_shard_count(model: str, known: int, shards: int) -> WrongShardCount:
    """The refusal of a worker that is set to another number.

    >>> print(wrong_shard_count("shop", known=4, shards=1))
    model 'shop' has 4 shards, and this worker has CORRENTE_SHARDS=1. Set CORRENTE_SHARDS=4, or merge its shards with \
`corrente versions merge-shards --to 1`
    """
    count = "1 shard" if known == 1 else f"{known} shards"
    found = f"model {model!r} has {count}, and this worker has CORRENTE_SHARDS={shards}"
    remedy = f"Set CORRENTE_SHARDS={known}"
    if shards < known and known % shards == 0:
        remedy += f", or merge its shards with `corrente versions merge-shards --to {shards}`"
    elif shards > known:
        remedy += "; shards can't be split, so another number takes another CORRENTE_MODEL_NAME, which learns anew"
    return WrongShardCount(f"{found}. {remedy}")
