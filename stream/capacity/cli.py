"""`corrente size`: memory for a planned number of visitors and items."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def size(
    visitors: Annotated[int, typer.Option(min=1, help="Visitors to remember.")] = 1_000_000,
    items: Annotated[int, typer.Option(min=1, help="Items to remember.")] = 200_000,
    shards: Annotated[int, typer.Option(min=1, help="Partitions of the topics.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Most memory that a worker and a server take for a planned size, from the sizes of rows."""
    from stream.capacity.memory_plan import PROGRAM_BYTES
    from stream.capacity.memory_plan import size as sized
    from stream.settings import load_settings

    found = sized(visitors, items, shards, load_settings().model)
    if as_json:
        told = {
            "visitors": visitors,
            "items": items,
            "shards": shards,
            "shard_bytes": found.worker_bytes,
            "worker": found.worker,
            "server_bytes": found.server_bytes,
            "server": found.server,
            "program_bytes": PROGRAM_BYTES,
            "bytes_per_item": found.per_item,
            "bytes_per_visitor": found.per_visitor,
        }
        print(json.dumps(told))
        return
    print(f"{visitors:,} visitors, {items:,} items, {shards} shard{'s' if shards > 1 else ''}: at most\n")
    for title, parts in (("one shard in its worker", found.worker), ("a server process", found.server)):
        print(f"  {title:<28}{_gib(sum(parts.values()))}")
        for name, count in parts.items():
            print(f"    {name:<26}{_gib(count)}")
    print(f"  on top, each process        {_gib(PROGRAM_BYTES)}\n")
    print(f"  {found.per_item:,} bytes an item, {found.per_visitor:,} bytes a visitor, in each shard that has them")
    settings = found.settings
    print("\nsettings for it:")
    for name in ("items", "visitors", "sessions"):
        print(f"  CORRENTE_MODEL__{name.upper()}={getattr(settings, name)}")


def _gib(count: int) -> str:
    return f"{count / 2**30:>9.2f} GiB"
