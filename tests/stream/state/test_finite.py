"""Numbers in a cut are finite: a NaN or an infinity in any float of any table fails it, and nothing else does."""

from __future__ import annotations

import numpy as np
import pytest

from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.state.finite import NotFinite, check_finite, floats_of, mend
from stream.state.tables import Table, Tables, TableSpec

SETTINGS = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
SPECS = {spec.name: spec for spec in table_specs(SETTINGS)}
MIXED = TableSpec("mixed", 9, np.dtype([("key", "<u4"), ("part", "<f4"), ("time", "<f8"), ("more", "<u8")]), 8)
"""Three blocks a row of different fields: integers that look like infinities are next to floats."""


def filled(spec: TableSpec) -> Table:
    """A table with every bit set in integers, and the largest finite numbers of both signs in floats."""
    table = Table(spec)
    table.raw()[:] = 0xFF
    raw = table.raw().reshape(spec.rows, -1)
    for number, (offset, size) in enumerate(floats_of(spec.dtype)):
        largest = np.array([np.finfo(f"f{size}").max * (-1) ** number], f"<f{size}")
        raw[:, offset : offset + size] = largest.view(np.uint8)
    table.dirty[:] = 1
    return table


@pytest.mark.parametrize("spec", [*SPECS.values(), MIXED], ids=lambda spec: spec.name)
def test_all_finite_numbers_and_all_integers_pass(spec: TableSpec) -> None:
    table = filled(spec)
    delta = table.checkpoint()
    assert len(delta.blocks) == spec.blocks
    check_finite(spec, delta.blocks, delta.data)


@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [*(name for name, spec in SPECS.items() if floats_of(spec.dtype)), "mixed"])
def test_one_number_that_is_not_finite_fails_the_cut_which_names_table_and_row(name: str, bad: float) -> None:
    spec = MIXED if name == "mixed" else SPECS[name]
    draw = np.random.default_rng(len(name))
    floats = floats_of(spec.dtype)
    for offset, size in [floats[0], floats[-1], floats[int(draw.integers(len(floats)))]]:
        tables = Tables([spec])
        table = tables[name]
        table.raw()[:] = filled(spec).raw()
        table.mark(draw.integers(spec.blocks, size=9))
        row = int(draw.integers(spec.rows))
        place = table.raw().reshape(spec.rows, -1)[row, offset : offset + size]
        place[:] = np.array([bad], f"<f{size}").view(np.uint8)
        table.mark_rows([row])
        with pytest.raises(NotFinite, match=f"row {row} of the table '{name}' holds a number that is NaN or infinite"):
            tables.check_finite(tables.checkpoint())


def test_mended_tables_have_zeros_in_place_of_such_numbers_and_the_next_cut_has_them() -> None:
    tables = Tables([SPECS["ratings"], SPECS["pairs"], SPECS["items"], MIXED])
    tables["ratings"].data[0, 3] = np.nan
    tables["ratings"].data[0, 4] = 5.0
    tables["pairs"].data["fast"][2, 1] = -np.inf
    tables["pairs"].data["other"][2, 1] = 9
    tables["mixed"].data["time"][4] = np.inf
    assert mend(tables) == {"ratings": 1, "pairs": 1, "mixed": 1}
    cut = tables.checkpoint()
    assert {name: part.blocks.tolist() for name, part in cut.items()} == {"ratings": [0], "pairs": [17], "mixed": [13]}
    assert tables["ratings"].data[0, 3:5].tolist() == [0.0, 5.0]
    assert tables["pairs"].data["other"][2, 1] == 9
    assert mend(tables) == {}
