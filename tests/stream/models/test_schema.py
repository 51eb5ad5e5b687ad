"""Cells of the scalars table: every name has a place of its own."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from stream.models import schema

WIDTHS = {"TOP_SIZES": schema.HALF_LIVES, "POOL_PAIRS": schema.POOL_CELLS, "POOL_POSTINGS": schema.POOL_CELLS}
WIDTHS["POOL_HISTORY"] = schema.POOL_CELLS


def test_no_two_scalars_share_a_cell() -> None:
    source = Path(schema.__file__).read_text(encoding="utf-8")
    block = source[source.index("# Cells of `scalars`") : source.index("POOL_CELLS = ")]
    cells = {name: int(place) for name, place in re.findall(r"^([A-Z_]+) = (\d+)", block, re.MULTILINE)}
    assert len(cells) > 20
    taken = Counter(place + further for name, place in cells.items() for further in range(WIDTHS.get(name, 1)))
    assert [place for place, names in taken.items() if names > 1] == []
    assert max(taken) < schema.SCALARS
