"""Layout: the tables that a state has, which follow from its capacities and its names.

This file decides what a state says of its layout, and the shapes of tables into which it is read. States of earlier
releases say nothing of it; they have the layout of their version's settings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from stream.models.feature_names import CROSS_BUCKETS
from stream.models.schema import HIDDEN, table_specs
from stream.models.settings import FIXED, ModelSettings
from stream.models.source_names import CUSTOM
from stream.models.source_registry import load
from stream.models.state_names import TODAY, Names
from stream.state.tables import TableSpec

COLUMNS = "columns"
"""Key of the number of columns of each source of one's own."""


def layout_of(settings: ModelSettings) -> dict[str, Any]:
    """The layout that a state carries: the settings `FIXED`, and columns by source of one's own."""
    return {name: getattr(settings, name) for name in FIXED} | {COLUMNS: own_columns()}


def own_columns() -> dict[str, int]:
    """Columns of the table of each source of one's own in this program."""
    return {name: int(load(name).COLUMNS) for name in CUSTOM}


def learned_settings(settings: ModelSettings, layout: Mapping[str, Any], version: Mapping[str, Any]) -> ModelSettings:
    """These settings with the capacities of a state.

    Args:
        settings: of this process.
        layout: what the state says; empty if it is of an earlier release.
        version: settings of the state's version, which count for a state that says nothing.
    """
    known = {**version, **layout}
    return settings.model_copy(update={name: known[name] for name in FIXED if name in known})


def misfit(layout: Mapping[str, Any]) -> str | None:
    """A sentence that says why a source of one's own can't go on from its table; None if every source can."""
    learned, own = layout.get(COLUMNS, {}), own_columns()
    for name in sorted(learned.keys() & own.keys()):
        if learned[name] != own[name]:
            return (
                f"the source {name!r} has COLUMNS = {own[name]} here, and the model has learned it with "
                f"{learned[name]}. Install the package in which it has {learned[name]}, or give the changed source "
                "another name (docs/how-to/add-a-source.md)"
            )
    return None


def stored_specs(settings: ModelSettings, names: Names) -> list[TableSpec]:
    """Shapes of the tables of a state.

    Tables of sources that this program doesn't have are left out.

    Args:
        settings: with the capacities of the state (`learned_settings`).
        names: that the state carries.
    """
    specs = [spec for spec in table_specs(settings) if spec.name not in CUSTOM or spec.name in names["sources"]]
    if all(len(names[kind]) == len(ours) for kind, ours in TODAY.items()):
        return specs
    wide = padded_width(len(names["features"]))
    shapes = {
        "linear": (2 * linear_rows(names), wide),
        "network": (3 * network_rows(names), HIDDEN),
        "challenger": (1, wide),
        "outcomes": (None, padded_width(len(names["rankings"]))),
        "drifts": (len(names["rankings"]), None),
    }
    return [_with_shape(spec, *shapes[spec.name]) if spec.name in shapes else spec for spec in specs]


def padded_width(count: int) -> int:
    """The next multiple of sixteen: the width of a row of features, and of the ranks of a test."""
    return -(-count // 16) * 16


def linear_rows(names: Names) -> int:
    """Rows of weights in the table `linear` of a state with these names."""
    return 1 + CROSS_BUCKETS * len(names["crosses"])


def network_rows(names: Names) -> int:
    """Rows of weights in the table `network` of a state with these names."""
    return padded_width(len(names["features"])) + len(names["context_features"]) + 2


def _with_shape(spec: TableSpec, rows: int | None, columns: int | None) -> TableSpec:
    kind, shape = spec.dtype.subdtype or (spec.dtype, ())
    wide = np.dtype((kind, shape if columns is None else (columns,)))
    return TableSpec(spec.name, spec.rows if rows is None else rows, wide, spec.block_bytes)
