"""The tables as scoring kernels take them: every row through an index.

Row `r` of table `t` is `t[t_index[r]]`. For live tables the index is the identity; in serving it leads into an arena.

This file decides which arrays a scoring kernel gets, and it is the one place that makes views of live tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.models.kernels.compile import packed
from stream.models.source_names import CUSTOM
from stream.state.tables import Table

Views = dict[str, tuple[NDArray, NDArray]]
"""Table name to (data, int32 index): row `r` is `data[index[r]]`."""


class Reader(NamedTuple):
    """Arrays that scoring reads, named after the tables."""

    scalars: NDArray
    items: NDArray
    items_index: NDArray
    sums: NDArray
    sums_index: NDArray
    top: NDArray
    top_index: NDArray
    visitors: NDArray
    visitors_index: NDArray
    history: NDArray
    history_index: NDArray
    seen: NDArray
    seen_index: NDArray
    kept_visitors: NDArray
    kept_visitors_index: NDArray
    kept_items: NDArray
    kept_items_index: NDArray
    sessions: NDArray
    sessions_index: NDArray
    session_items: NDArray
    session_items_index: NDArray
    postings: NDArray
    postings_index: NDArray
    pairs: NDArray
    pairs_index: NDArray
    merits: NDArray
    merits_index: NDArray
    vectors: NDArray
    vectors_index: NDArray
    linear: NDArray
    linear_index: NDArray
    network: NDArray
    network_index: NDArray
    challenger: NDArray
    challenger_index: NDArray


def views_of(tables: Mapping[str, Table]) -> Views:
    """Views of live tables: each with the identity as its index.

    The views are not copies: what is learned afterwards shows in them.
    """
    return {name: (table.data, np.arange(table.spec.rows, dtype=np.int32)) for name, table in tables.items()}


def reader_of(views: Mapping[str, tuple[NDArray, NDArray]]) -> Reader:
    """The kernels' view of these tables.

    Args:
        views: (data, index) by table name, for every table of a model.
    """
    arrays: dict[str, NDArray] = {}
    for name, (data, index) in views.items():
        arrays[name] = data
        arrays[f"{name}_index"] = index
    data, index = views["scalars"]
    arrays["scalars"] = data[index[0]]
    more = {f"{name}{part}": arrays[f"{name}{part}"] for name in CUSTOM for part in ("", "_index")}
    return packed(Reader(**{name: arrays[name] for name in Reader._fields}), more)
