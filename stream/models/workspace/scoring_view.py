"""The tables as the scoring kernels take them: every row through an index.

Row `r` of table `t` is `t[t_index[r]]`. In the learner the index is the identity; in serving it leads into an arena.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from numpy.typing import NDArray

from stream.models.kernels.compile import packed
from stream.models.source_names import ADDED

Views = dict[str, tuple[NDArray, NDArray]]
"""Table name to (data, index of int32): row r is `data[index[r]]`."""


class Reader(NamedTuple):
    """Everything that scoring reads."""

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


def reader_of(views: Mapping[str, tuple[NDArray, NDArray]]) -> Reader:
    """Views by table name as one tuple of arrays."""
    arrays: dict[str, NDArray] = {}
    for name, (data, index) in views.items():
        arrays[name] = data
        arrays[f"{name}_index"] = index
    data, index = views["scalars"]
    arrays["scalars"] = data[index[0]]
    more = {f"{name}{part}": arrays[f"{name}{part}"] for name in ADDED for part in ("", "_index")}
    return packed(Reader(**{name: arrays[name] for name in Reader._fields}), more)
