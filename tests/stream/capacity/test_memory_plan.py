"""`corrente size` computes what a learner and a server hold when every row is written."""

import gc
import json
import re
import tracemalloc

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from serving.loading.shard_memory import ShardMemory
from stream.capacity.catalogue_plan import ID_BYTES, PLANNED_LABELS, document_bytes, plan_catalogue
from stream.capacity.cli import size as size_command
from stream.capacity.memory_plan import PLANNED_NAME_CELLS, plan_memory
from stream.catalogue.columns import Change
from stream.catalogue.filters import Filter
from stream.catalogue.item import Item
from stream.catalogue.snapshot import KEPT_FILTERS, Catalogue
from stream.models.learning.learner import Learner
from stream.models.schema import ID_CELLS, table_specs
from stream.models.settings import ModelSettings
from stream.settings import load_settings
from stream.state.tables import Table

pytestmark = pytest.mark.unmeasured

PLAN = ModelSettings(max_items=300, max_visitors=2000, max_sessions=2000, max_event_ids=512)


def planned_rows(table: Table) -> int:
    """Rows of a table that are written if ids have up to 56 bytes; the other cells of names stay untouched."""
    return -(-table.spec.rows * PLANNED_NAME_CELLS // ID_CELLS) if table.spec.name == "names" else table.spec.rows


def test_a_shard_holds_what_was_computed():
    learner = Learner(PLAN)
    computed = plan_memory(2000, 300, settings=PLAN)
    tables = learner.tables.values()
    assert computed.worker["tables"] == sum(planned_rows(table) * table.spec.row_bytes for table in tables)
    assert computed.worker["marks"] == sum(planned_rows(table) * table.spec.blocks_per_row for table in tables)
    state = learner.state
    cells = (state.item_cells, state.visitor_cells, state.session_cells, state.event_cells)
    assert computed.worker["directories"] == pytest.approx(sum(each.nbytes for each in cells), rel=0.01)
    assert computed.worker["scratch"] == pytest.approx(
        state.items_leaving.nbytes + state.visitors_leaving.nbytes + state.evict_order.nbytes, rel=0.01
    )


def test_a_server_with_every_row_written_holds_what_was_computed():
    learner = Learner(PLAN)
    for table in learner.tables.values():
        table.raw()[: planned_rows(table) * table.spec.blocks_per_row] = 1
    full = learner.tables.snapshot()
    memory = ShardMemory(table_specs(PLAN))
    views = memory.apply({}, full)
    computed = plan_memory(2000, 300, settings=PLAN)
    assert set(views) == set(learner.tables) - {"event_ids"}
    assert memory.nbytes == pytest.approx(computed.server["rows"] + computed.server["indexes"] / 2, rel=0.01)


def test_bytes_an_item_and_a_visitor_do_not_depend_on_how_many_there_are():
    small, large = plan_memory(100_000, 50_000), plan_memory(10_000_000, 1_000_000)
    assert small.per_item == large.per_item > 0
    assert small.per_visitor == large.per_visitor > 0
    assert np.isclose(large.worker_bytes, 10 * plan_memory(1_000_000, 100_000).worker_bytes, rtol=0.3)


def planned_document(number: int) -> Item:
    """A document with as many categories, tags and labels as are planned for."""
    return Item(
        title=f"Item {number}",
        brand=f"brand {number % 50}",
        categories=[f"home/kitchen/{number % 50}/{number % 7}", f"sale/{number % 5}/{number % 3}/{number % 2}"],
        tags=[f"{tag}-{number % 9}" for tag in range(8)],
        price=float(number % 100),
        currency="EUR",
        published_at=1_700_000_000 + number,
        labels={f"label {place}": number % 40 for place in range(PLANNED_LABELS)},
    )


@pytest.mark.parametrize("documents", [16_000, 16_385])
def test_a_catalogue_holds_what_was_computed(documents: int):
    """Right before and right after the columns double."""
    catalogue = Catalogue()
    written = [Change(f"{number:0{ID_BYTES}}", number + 1, planned_document(number)) for number in range(documents)]
    catalogue.apply([Change("warm up", 1, planned_document(0))], 1)
    gc.collect()
    tracemalloc.start()
    for start in range(0, documents, 500):
        catalogue.apply(written[start : start + 500], start + 500)
    held = tracemalloc.get_traced_memory()[0] + documents * (49 + ID_BYTES)  # the ids were made before
    wide = [Filter(price_min=float(number), price_max=float(number + 30)) for number in range(KEPT_FILTERS)]
    for wanted in wide:
        catalogue.view(wanted, None)
    filters = tracemalloc.get_traced_memory()[0] + documents * (49 + ID_BYTES) - held
    tracemalloc.stop()
    computed = plan_catalogue(documents)
    assert 0.4 * computed["documents"] < held <= computed["documents"]
    assert 0 < filters <= computed["filters"]


def run_size(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(size_command)
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_prints_one_json_object():
    printed = json.loads(run_size("--visitors", "10000000", "--items", "1000000", "--shards", "8", "--json"))
    assert printed["shard_bytes"] == plan_memory(10_000_000, 1_000_000, 8).worker_bytes
    assert printed["server"]["merged"] > 0
    assert printed["catalogue_bytes"] == sum(plan_catalogue(1_000_000).values())
    assert printed["bytes_per_document"] == document_bytes()


def test_a_shop_without_a_catalogue_needs_no_memory_for_one():
    assert json.loads(run_size("--documents", "0", "--json"))["catalogue_bytes"] == 0
    assert "bytes a document" in run_size("--documents", "1000")


def test_the_printed_settings_are_settings_that_load():
    printed = run_size("--visitors", "1000", "--items", "500", "--shards", "2")
    variables = dict(re.findall(r"^  (CORRENTE_\w+)=(\d+)$", printed, re.MULTILINE))
    model = load_settings(variables).model
    assert (model.max_items, model.max_visitors, model.max_sessions) == (500, 500, 500)
    assert (model.max_kept_visitors, model.max_kept_items) == (100_000, 32)
    assert len(variables) == 5
