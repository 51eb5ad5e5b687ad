"""Migration of one state: its tables in, the tables with which a shard goes on out.

If only the order of names differs, the tables stay, and what moved is part of the next delta. With other names or
larger capacities, tables are made anew. Blocks of the old and of the new tables then mean different things, so the next
version of the shard has all of them, and no delta leads to it.

This file decides what is a migration, and which blocks are published after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from stream.models.migration.columns import MOVES, map_columns, reorder_tables
from stream.models.migration.growth import refusals
from stream.models.migration.rows import grow
from stream.models.schema import table_specs
from stream.models.settings import CAPACITIES, FIXED, ModelSettings
from stream.models.source_names import SOURCES
from stream.models.state_names import Names, same_names
from stream.state.tables import Table, Tables


class WrongCapacity(ValueError):
    """The tables of a state don't fit the settings, and can't be brought to them."""


class Migration(NamedTuple):
    """The outcome of a migration.

    Attributes:
        grown: by setting, the capacity before and after.
        new_sources: sources that begin with their first numbers.
        dropped_sources: sources whose numbers were left behind.
        other_names: True if rankings or features are others, as they are with every source.
    """

    grown: Mapping[str, tuple[int, int]]
    new_sources: tuple[str, ...]
    dropped_sources: tuple[str, ...]
    other_names: bool

    def __bool__(self) -> bool:
        """True if anything is other than before."""
        return bool(self.grown) or self.other_names


def migrated(tables: Tables, names: Names, learned: ModelSettings, settings: ModelSettings) -> tuple[Tables, Migration]:
    """Tables of `table_specs(settings)` with everything that a state has learned.

    Args:
        tables: of the state, of the shapes `stored_specs(learned, names)`. Don't use them afterwards: the new tables
            may have parts of them.
        names: that the state carries.
        learned: with the capacities of the state.
        settings: with which the shard goes on.

    Returns:
        The tables, and what changed. If anything did, every block that is not zero is marked as written.

    Raises:
        WrongCapacity: a capacity is smaller than it was, or `repeats` is another.
    """
    before, after = learned.model_dump(include=set(FIXED)), settings.model_dump(include=set(FIXED))
    if refused := refusals(before, after):
        each = "; ".join(f"{name} is {value}, and would have to be {right}" for name, value, right in refused)
        raise WrongCapacity(f"the state was learned with other capacities: {each}")
    grown = {name: (before[name], after[name]) for name in CAPACITIES if before[name] != after[name]}
    theirs = names["sources"]
    migration = Migration(
        grown,
        tuple(name for name in SOURCES if name not in theirs),
        tuple(name for name in theirs if name not in SOURCES),
        not same_names(names),
    )
    if not migration:
        reorder_tables(tables, names)
        return tables, migration
    new = Tables(table_specs(settings))
    if grown:
        grow(Tables.of(table for name, table in tables.items() if name not in MOVES), new)
        map_columns(tables, new, names)
    else:
        map_columns(tables, new, names)
        new = Tables.of(table if name in MOVES else tables.get(name, table) for name, table in new.items())
    for table in new.values():
        _mark_written(table)
    return new, migration


def _mark_written(table: Table) -> None:
    """Mark every block that is not zero, and no other."""
    table.dirty[:] = 0
    table.mark_nonzero()
