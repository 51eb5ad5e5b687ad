"""The number of shards: whether it fits the topics and the model.

A visitor's events are in partition murmur2(key) modulo the topic's number of partitions. If the number of shards
divides that of every topic, the shard of a visitor is murmur2(key) modulo the number of shards, whichever topic the
event is in and however many partitions are added. If it doesn't, a visitor's clicks and purchases are learned by
different shards, and partitions that are added move visitors to shards that don't know them.

This file decides which numbers are refused, and what would be right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from math import gcd
from typing import Any, Protocol

from stream.kafka.refusals import WrongShards
from stream.settings import Settings
from stream.versions.errors import UnknownVersion


class _Store(Protocol):
    """The part of `stream.versions.VersionStore` that is read here."""

    def latest(self) -> Any: ...

    def state(self, partition: int, state: Any) -> dict[str, Any]: ...


def check_topics(counts: Mapping[str, int], settings: Settings) -> None:
    """Refuse a number of shards that doesn't fit the topics.

    Args:
        counts: number of partitions of each event topic; topics with 0 aren't there, and count for nothing.
        settings: number of shards, and whether one that doesn't divide is allowed.

    Raises:
        WrongShards: there are more shards than partitions, or visitors would be torn apart.
    """
    present = {topic: count for topic, count in counts.items() if count}
    if not present:
        return
    shards, listed = settings.shards, _listed(present)
    most = max(present.values()) if settings.allow_uneven_shards else min(present.values())
    if shards > most:
        raise WrongShards(
            f"CORRENTE_SHARDS={shards} is more than there are partitions: {listed}. A shard without partitions would "
            f"learn nothing. Set CORRENTE_SHARDS to {_or(_fitting(present))}, or add partitions: "
            f"CORRENTE_PARTITIONS={shards} for topics that Corrente creates, kafka-topics.sh --alter for others"
        )
    uneven = {topic: count for topic, count in present.items() if count % shards}
    if uneven and not settings.allow_uneven_shards:
        raise WrongShards(
            f"CORRENTE_SHARDS={shards} does not divide the number of partitions of every event topic: {listed}. Events "
            f"of one visitor would be learned by different shards. Set CORRENTE_SHARDS to {_or(_fitting(present))}, or "
            f"give {', '.join(uneven)} a multiple of {shards} partitions (kafka-topics.sh --alter). To learn like this "
            "all the same, set CORRENTE_ALLOW_UNEVEN_SHARDS=true"
        )


def check_model(store: _Store, name: str, shards: int) -> None:
    """Refuse a model that was learned with another number of shards.

    Args:
        store: of the model's versions.
        name: of the model.
        shards: number of shards to learn with.

    Raises:
        WrongShards: its newest version has states of another number of shards.
        RedisError: Redis can't be reached.
        VersionError: the newest version can't be read.
    """
    newest = store.latest()
    if newest is None or not newest.shards:
        return
    learned = 0
    for shard, state in newest.shards.items():
        with contextlib.suppress(UnknownVersion):  # its record is lost, and its worker heals it
            learned = max(learned, shards_of(store.state(shard, state), shard))
    if learned and learned != shards:
        raise WrongShards(_other_number(name, shards, learned))


def shards_of(state: Mapping[str, Any], shard: int) -> int:
    """The number of shards of the model that a state is a part of.

    Args:
        state: its readable part.
        shard: its own number, beyond which the number lies if the state doesn't say.
    """
    return max(int(state.get("shards", 1)), shard + 1)


def _other_number(name: str, shards: int, learned: int) -> str:
    text = (
        f"model {name!r} was learned with {learned} shard{'s' * (learned > 1)}, and CORRENTE_SHARDS={shards}: their "
        f"states can't be learned on with another number. To go on as it is, set CORRENTE_SHARDS={learned}. "
    )
    if learned % shards == 0:
        return (
            f"{text}To make {shards} of them, stop the model's workers, and run: corrente versions merge-shards --to "
            f"{shards}"
        )
    return f"{text}To learn with {shards} from the beginning of the topics, set another CORRENTE_MODEL_NAME"


def _fitting(counts: Mapping[str, int]) -> list[int]:
    """Numbers of shards that divide every number of partitions."""
    greatest = gcd(*counts.values())
    return [number for number in range(1, greatest + 1) if greatest % number == 0]


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{topic} has {count}" for topic, count in counts.items())


def _or(numbers: list[int]) -> str:
    *first, last = map(str, numbers)
    return f"{', '.join(first)} or {last}" if first else last
