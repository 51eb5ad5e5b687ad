"""Stream clock of a merge that learns.

A clock that two visitors have confirmed is believed before one that rests on a single visitor, whose time may be wrong
(`stream.models.learning.stream_clock`). Among confirmed clocks the latest goes on. If none is confirmed, the
second-latest of the shards does, which is the rule of the clock itself: a time counts as far as another visitor has
reached it.

This file decides which clock goes on. Evidence for moving it is collected anew.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream.models.merging.numbering import Views
from stream.state.tables import Tables


def merge_clock(tables: Tables, views: Sequence[Views]) -> None:
    """Fill the row of the table `clock`; it stays empty if no shard has a clock."""
    rows = [data[index[0]] for data, index in (each["clock"] for each in views)]
    running = sorted((row for row in rows if row["seconds"] > 0), key=lambda row: float(row["seconds"]))
    if not running:
        return
    confirmed = [row for row in running if row["confirmed"]]
    chosen = confirmed[-1] if confirmed else running[max(0, len(running) - 2)]
    out = tables["clock"].data
    out[0] = chosen
    for field in ("lead_visitor", "lead_low", "lead_high", "leads", "lead_visitors", "behind_visitor", "behind"):
        out[field][0] = 0
    if len(running) > 1:
        out["lone_visitor"][0] = 0  # there are visitors of other shards
    out["step"][0] = np.min([row["step"] for row in running])
