"""Differences between two versions that their manifests show: events, offsets, metrics, drift, settings.

Settings are compared under today's names, and the visitor salt by its digest, whichever release wrote the manifests.
Items that moved in the lists can't be seen here: that needs a model of each version.

This file decides what counts as a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stream.versions.manifest import ShardState, Version, rfc3339
from stream.versions.salt import comparable

_EMPTY_SHARD = ShardState(seq=0, digest="")


def diff(older: Version, newer: Version) -> dict[str, Any]:
    """Differences of `newer` from `older`, JSON-able. Differences of numbers are newer minus older.

    `metrics`, `drift` and `settings` are lists of `{"name", "from", "to"}` with dotted names; numbers have a "change".
    """
    return {
        "from": _head(older),
        "to": _head(newer),
        "seconds": newer.created_at - older.created_at,
        "same_lineage": older.lineage == newer.lineage,
        "events": newer.events - older.events,
        "shards": {
            str(partition): _shard(older.shards.get(partition, _EMPTY_SHARD), state)
            for partition, state in newer.shards.items()
        },
        "metrics": differences(older.metrics, newer.metrics),
        "drift": differences(older.drift, newer.drift),
        "settings": differences(comparable(older.settings), comparable(newer.settings)),
        "code_version": differences({"code_version": older.code_version}, {"code_version": newer.code_version}),
    }


def differences(older: Any, newer: Any) -> list[dict[str, Any]]:
    """Leaves in which two JSON values differ, by their dotted names.

    >>> differences({"hr": {"10": 0.25}, "same": 1}, {"hr": {"10": 0.5}, "same": 1, "new": "x"})
    [{'name': 'hr.10', 'from': 0.25, 'to': 0.5, 'change': 0.25}, {'name': 'new', 'from': None, 'to': 'x'}]
    """
    before, after = dict(_leaves(older)), dict(_leaves(newer))
    found = []
    for name in sorted({**before, **after}):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        difference = {"name": name, "from": old, "to": new}
        if old is not None and new is not None and _is_number(old) and _is_number(new):
            difference["change"] = new - old
        found.append(difference)
    return found


def _shard(older: ShardState, newer: ShardState) -> dict[str, Any]:
    return {
        "same": older == newer,
        "states": newer.seq - older.seq,
        "offsets": {topic: offset - older.offsets.get(topic, 0) for topic, offset in newer.offsets.items()},
        "counters": differences(older.counters, newer.counters),
    }


def _head(version: Version) -> dict[str, Any]:
    return {
        "number": version.number,
        "id": version.id,
        "created_at": rfc3339(version.created_at),
        "lineage": version.lineage,
        "events": version.events,
    }


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, list) and value:
        for at, inner in enumerate(value):
            yield from _leaves(inner, f"{name}.{at}" if name else str(at))
    else:
        yield name, value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
