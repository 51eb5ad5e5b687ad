"""`corrente size`: memory for a planned number of visitors and items.

This file decides how the plan is printed. The numbers are decided in `stream.capacity.memory_plan`.
"""

from __future__ import annotations

import json
from typing import Annotated

import typer


def size(
    visitors: Annotated[int, typer.Option(min=1, help="Visitors to remember.")] = 1_000_000,
    items: Annotated[int, typer.Option(min=1, help="Items to remember.")] = 200_000,
    shards: Annotated[int, typer.Option(min=1, help="Partitions of the topics.")] = 1,
    documents: Annotated[
        int | None, typer.Option(min=0, help="Items with a document in the catalogue.", show_default="all items")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Most memory that a worker and a server take for a planned size, from the sizes of rows."""
    from stream.capacity.catalogue_plan import document_bytes, plan_catalogue
    from stream.capacity.memory_plan import PROGRAM_BYTES, plan_memory
    from stream.settings import load_settings

    plan = plan_memory(visitors, items, shards, load_settings().model)
    catalogue = plan_catalogue(items if documents is None else documents)
    if as_json:
        printed = {
            "visitors": visitors,
            "items": items,
            "shards": shards,
            "shard_bytes": plan.worker_bytes,
            "worker": plan.worker,
            "server_bytes": plan.server_bytes,
            "server": plan.server,
            "catalogue_bytes": sum(catalogue.values()),
            "catalogue": catalogue,
            "program_bytes": PROGRAM_BYTES,
            "bytes_per_item": plan.per_item,
            "bytes_per_visitor": plan.per_visitor,
            "bytes_per_document": document_bytes(),
        }
        print(json.dumps(printed))
        return
    print(f"{visitors:,} visitors, {items:,} items, {shards} shard{'s' if shards > 1 else ''}: at most\n")
    titles = ("one shard in its worker", "a server process", "a catalogue, each server")
    for title, parts in zip(titles, (plan.worker, plan.server, catalogue), strict=True):
        print(f"  {title:<28}{_gib(sum(parts.values()))}")
        for name, count in parts.items():
            print(f"    {name:<26}{_gib(count)}")
    print(f"  on top, each process        {_gib(PROGRAM_BYTES)}\n")
    print(f"  {plan.per_item:,} bytes an item, {plan.per_visitor:,} bytes a visitor, in each shard that has them")
    print(f"  {document_bytes():,} bytes a document of the catalogue, in each server process")
    print("\nsettings for it:")
    for name in ("max_items", "max_visitors", "max_sessions", "max_kept_visitors", "max_kept_items"):
        print(f"  CORRENTE_MODEL__{name.upper()}={getattr(plan.settings, name)}")


def _gib(count: int) -> str:
    return f"{count / 2**30:>9.2f} GiB"
