"""A state as a program with other sources would have written it: it lacks one of ours, and has one that we lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.models.feature_names import CROSS_BUCKETS, FEATURES_WIDE
from stream.models.migration.columns import MOVES
from stream.models.migration.layout import stored_specs
from stream.models.schema import NETWORK_ROWS
from stream.models.settings import ModelSettings
from stream.models.state_names import TODAY
from stream.state.checkpoint import Checkpoint
from stream.state.tables import Delta, TableDelta, Tables

MISSING_THERE = "stan"
MISSING_HERE = "weekday"


def other_names(
    without: Sequence[str] = (MISSING_THERE,), more: Sequence[str] = (MISSING_HERE,)
) -> dict[str, list[str]]:
    """Names of a program without some of our sources, and with others."""
    names = {kind: list(each) for kind, each in TODAY.items()}
    names["sources"] = [each for each in names["sources"] if each not in without] + list(more)
    names["rankings"] = [*names["sources"], "blend", "challenger"]
    of_items = [each for each in names["features"] if each.partition(".")[0] not in TODAY["sources"]]
    of_sources = [f"{source}.{part}" for source in names["sources"] for part in ("value", "rank", "log")]
    return names | {"features": of_sources + of_items}


def written_there(settings: ModelSettings, tables: Tables, names: Mapping[str, Sequence[str]], seed: int = 0) -> Tables:
    """These tables as that program would have them. What we lack has random numbers.

    Every number is written on its own, by name, so that this shares nothing with the code that reads them.
    """
    draw, theirs = np.random.default_rng(seed), Tables(stored_specs(settings, names))
    for name, table in theirs.items():
        if name not in MOVES:
            table.data[:] = tables[name].data
        else:
            numbers = draw.integers(1, 90, table.data.shape)
            table.data[:] = numbers if table.data.dtype.kind == "u" else numbers / 1000
    ours = {name: tables[name].data for name in MOVES}
    data = {name: theirs[name].data for name in MOVES}
    data["conversion"][:], data["pending"][:] = ours["conversion"], ours["pending"]
    wide = len(data["challenger"][0])
    rows = len(data["network"]) // 3
    halves = len(data["linear"]) // 2
    for feature, other in pairs(names, "features"):
        data["challenger"][0, other] = ours["challenger"][0, feature]
        for half in range(2):
            column = data["linear"][half * halves : (half + 1) * halves, other]
            column[0] = ours["linear"][half * len(ours["linear"]) // 2, feature]
            for cross, other_cross in pairs(names, "crosses"):
                for bucket in range(CROSS_BUCKETS):
                    row = half * len(ours["linear"]) // 2 + 1 + CROSS_BUCKETS * cross + bucket
                    column[1 + CROSS_BUCKETS * other_cross + bucket] = ours["linear"][row, feature]
        for part in range(3):
            data["network"][part * rows + other] = ours["network"][part * NETWORK_ROWS + feature]
    for part in range(3):
        for feature, other in pairs(names, "context_features"):
            data["network"][part * rows + wide + other] = ours["network"][part * NETWORK_ROWS + FEATURES_WIDE + feature]
        data["network"][(part + 1) * rows - 2 : (part + 1) * rows] = ours["network"][
            (part + 1) * NETWORK_ROWS - 2 : (part + 1) * NETWORK_ROWS
        ]
    untested = ~ours["outcomes"].any(axis=1)
    data["outcomes"][untested] = 0
    for ranking, other in pairs(names, "rankings"):
        data["outcomes"][:, other] = ours["outcomes"][:, ranking]
        data["drifts"][other] = ours["drifts"][ranking]
    return theirs


def pairs(names: Mapping[str, Sequence[str]], kind: str) -> list[tuple[int, int]]:
    """Places here and there of the names of a kind that both have."""
    return [(place, list(names[kind]).index(name)) for place, name in enumerate(TODAY[kind]) if name in names[kind]]


def checkpoint_there(
    settings: ModelSettings, tables: Tables, state: Mapping[str, Any], names: Mapping[str, Sequence[str]]
) -> Checkpoint:
    """A snapshot of that program, with the table of the source that we lack."""
    delta: Delta = written_there(settings, tables, names).snapshot()
    for name in set(names["sources"]) - set(TODAY["sources"]):
        delta[name] = TableDelta(np.arange(3, dtype=np.uint32), np.ones((3, 28), np.uint8))
    return Checkpoint(delta, {**state, "names": names})


def of_name(rows: NDArray, kind: str, name: str) -> NDArray:
    """The column of a name in a table of ours."""
    return rows[:, list(TODAY[kind]).index(name)]
