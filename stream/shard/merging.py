"""Merge of several shards into one that goes on learning.

The new shard learns from the partitions of all its predecessors. It starts behind every record that one of them has
learned, so no event is lost and none is learned twice; the event ids of all of them are remembered, as far as the
window holds them. Counters are added up.

A shard names a partition by the topic alone if its number is the shard's own (`stream.ingest.origins`), so a partition
may have another name in the new shard.

This file decides what becomes of the readable part of the states. The tables are merged by
`stream.models.merging.learning_state`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from stream.ingest.origins import origin_of, partition_of, topic_of
from stream.models.merging.learning_state.merge_state import merged_to_learn
from stream.models.migration.layout import learned_settings
from stream.models.migration.migrate import migrated
from stream.models.settings import ModelSettings
from stream.models.state_names import TODAY, names_in
from stream.models.workspace.scoring_view import views_of
from stream.shard.shard import STATE_FORMAT, Shard, UnknownState
from stream.state.tables import Tables


class ShardToMerge(NamedTuple):
    """A shard's state: its tables, of the shapes that the state has, and its readable part."""

    tables: Tables
    state: Mapping[str, Any]


def merged_shard(settings: ModelSettings, merging: Mapping[int, ShardToMerge], *, shard: int, shards: int) -> Shard:
    """The shard that goes on where these shards have stopped.

    Args:
        settings: of the model.
        merging: states of the shards by number, at least one. Don't use their tables afterwards.
        shard, shards: number of the new shard, and number of shards that there will be.

    Returns:
        The shard. Its journal begins here: a replay of the log has to start from this state.
    """
    views = {}
    for number, each in merging.items():
        learned = learned_settings(settings, each.state.get("layout", {}), {})
        views[number] = views_of(migrated(each.tables, names_in(each.state), learned, learned)[0])
    tables = merged_to_learn(settings, views)
    state = merged_readable({number: each.state for number, each in merging.items()}, shard)
    return Shard.restore(settings, tables, state, partition=shard, shards=shards)


def merged_readable(states: Mapping[int, Mapping[str, Any]], shard: int) -> dict[str, Any]:
    """The part of the readable states that a restore reads: logs or offsets, counters.

    Args:
        states: by number of the shard.
        shard: number of the new shard.

    Raises:
        UnknownState: a later release wrote one of them.
    """
    merged: dict[str, Any] = {
        "format": STATE_FORMAT,
        "names": TODAY,
        "offsets": {},
        "logs": {},
        "counters": {},
        "ahead": {},
    }
    for number, state in sorted(states.items()):
        if state.get("format", 1) > STATE_FORMAT:
            raise UnknownState(
                f"the state of shard {number} has format {state['format']}, and this release reads up to "
                f"{STATE_FORMAT}: merge with the release that wrote it"
            )
        logs = state.get("logs")
        if logs is None:  # a state of release 0.1 has offsets alone
            logs = {
                origin: [{"key": origin, "number": 1, "offset": offset}] for origin, offset in state["offsets"].items()
            }
        for origin, entries in logs.items():
            merged["logs"][renamed(origin, number, shard)] = [
                {**entry, "key": renamed(entry["key"], number, shard)} for entry in entries
            ]
        for key, offset in state["offsets"].items():
            merged["offsets"][renamed(key, number, shard)] = offset
        for origin, counts in state["counters"].items():
            total = merged["counters"].setdefault(renamed(origin, number, shard), {})
            for outcome, count in counts.items():
                total[outcome] = total.get(outcome, 0) + count
        for origin, count in state.get("ahead", {}).items():
            name = renamed(origin, number, shard)
            merged["ahead"][name] = merged["ahead"].get(name, 0) + count
    return merged


def renamed(key: str, shard: int, new_shard: int) -> str:
    """The name in another shard of an origin, or of the key of one of its logs.

    Args:
        key: the name in the present shard.
        shard: number of the present shard.
        new_shard: number of the other shard.

    >>> renamed("clicks", 3, 0), renamed("clicks/3", 0, 3), renamed("clicks#2", 3, 1)
    ('clicks/3', 'clicks', 'clicks/3#2')
    >>> renamed("clicks/5", 1, 0), renamed("clicks", 0, 0)
    ('clicks/5', 'clicks')
    """
    origin, mark, number = key.partition("#")
    return f"{origin_of(topic_of(origin), partition_of(origin, shard), new_shard)}{mark}{number}"
