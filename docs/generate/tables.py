"""Schema of a model's tables, from the same specifications that allocate them.

This file decides which properties of a table are listed, and the one sentence about each table and column.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from docs.generate.markdown import code, table
from stream.models.schema import table_specs
from stream.models.settings import ModelSettings
from stream.models.source_names import CUSTOM
from stream.state.tables import TableSpec


class Description(NamedTuple):
    """One sentence about a table's row, and the files that write it, below `stream/models/`."""

    row: str
    files: tuple[str, ...]


DESCRIPTIONS: Mapping[str, Description] = {
    "scalars": Description(
        "the only one: clocks, landmarks, and how many rows of other tables are in use",
        ("learning/event_loop.py", "entities/eviction.py", "entities/row_lifecycle.py", "kernels/row_pool.py"),
    ),
    "clock": Description(
        "the only one: the stream clock, and what is known of events ahead of it", ("learning/stream_clock.py",)
    ),
    "items": Description("an item: its key, its times, and pointers into other tables", ("entities/items.py",)),
    "sums": Description(
        "an item: five decayed counts, the number of events, and two sums over its pairs",
        ("sources/popularity.py", "sources/pairs.py"),
    ),
    "names": Description(
        "a cell of 28 bytes of an item's name, with the number of the next cell", ("entities/items.py",)
    ),
    "top": Description(
        "the 200 most popular items at one half-life, in order; the last row is a ring of the newest items",
        ("sources/popularity.py", "entities/items.py"),
    ),
    "visitors": Description(
        "a visitor under a salted hash, with pointers to history and session", ("entities/visitors.py",)
    ),
    "history": Description(
        "eight of a visitor's last events; a visitor has 1, 4 or 16 such rows", ("entities/visitors.py",)
    ),
    "seen": Description(
        "hashes of visitor and item, for `CORRENTE_MODEL__REPEATS=first`; one row otherwise",
        ("learning/event_loop.py",),
    ),
    "kept_visitors": Description(
        "a set of eight visitors whose purchases and dislikes are kept apart from their last events",
        ("had/kept.py",),
    ),
    "kept_items": Description(
        "eight items that one of these visitors bought or disliked; each place of a set has as many rows",
        ("had/kept.py",),
    ),
    "bought": Description(
        "an item: up to sixteen others that are bought together with it", ("had/bought_together.py",)
    ),
    "sessions": Description("a session, in a ring: the newest takes the row of the oldest", ("entities/sessions.py",)),
    "session_items": Description(
        "the last 50 items of the session in the same row of `sessions`", ("entities/sessions.py",)
    ),
    "postings": Description(
        "numbers of eight sessions that had the item, 32 bits of each; an item has 1, 4 or 16 such rows",
        ("entities/sessions.py",),
    ),
    "pairs": Description("a set of eight pairs of the item; an item has 2, 8 or 32 such rows", ("sources/pairs.py",)),
    "merits": Description(
        "an item: expected and actual choices, from which its bias is made", ("ranking/item_bias.py",)
    ),
    "vectors": Description(
        "an item: its input vector and its output vector, 32 numbers each", ("sources/embedding.py",)
    ),
    "reservoir": Description("32 items of recent events, from which negatives are drawn", ("sources/embedding.py",)),
    "linear": Description(
        "weights of the ranker's linear part, and in the second half sums of squared gradients", ("ranking/ranker.py",)
    ),
    "network": Description(
        "weights of the ranker's network, and in the second and third part their moments", ("ranking/ranker.py",)
    ),
    "challenger": Description("weights of the linear challenger", ("ranking/challenger.py",)),
    "outcomes": Description("the target's rank in one test, for each ranking", ("drift/prequential.py",)),
    "drifts": Description("findings of the drift detector of one ranking", ("drift/detectors.py",)),
    "pending": Description("a click that waits for its purchase, with its features", ("outcomes/conversion.py",)),
    "pending_keys": Description("keys of eight rows of `pending`", ("outcomes/conversion.py",)),
    "conversion": Description("weights of the model of purchases", ("outcomes/conversion.py",)),
    "ratings": Description("means of the model of ratings", ("outcomes/ratings.py",)),
    "visitor_tastes": Description("a visitor's factors in the model of ratings", ("outcomes/ratings.py",)),
    "item_tastes": Description("an item's factors in the model of ratings", ("outcomes/ratings.py",)),
    "event_ids": Description("hashes of eight event ids, in a ring", ("learning/event_loop.py",)),
}

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "clock": {
        "seconds": "the stream clock; 0 before the first event",
        "latest_seconds": "the largest time within its tolerance",
        "latest_visitor": "first half of the key of the visitor who reached it",
        "step": "mean step of the clock in seconds, from which the tolerance follows",
        "lone_visitor": "the visitor whom the clock follows alone; 0 is none",
        "lead_visitor": "first visitor of the events ahead in a row",
        "lead_low": "the smallest time of these events",
        "lead_high": "the largest",
        "lead_reached": "the largest time of their first visitor",
        "others_low": "the smallest time of their other visitors; 0 without others",
        "leads": "number of these events",
        "lead_visitors": "1 if one visitor sent them, 2 if several did",
        "behind_visitor": "the last visitor far behind a clock that rests on one visitor",
        "behind": "changes of visitor among those",
        "confirmed": "0 while the clock rests on one visitor, else 1",
        "held_first": "row of the first visitor with held events; 0 is none",
        "held_last": "row of the last",
        "held_latest": "the latest time of a held event that is learned; 0 is none",
        "spare": "unused",
    },
    "items": {
        "key0": "first half of the 128-bit hash of the item's id",
        "key1": "second half",
        "name": "first cell in `names`",
        "name_bytes": "length of the name",
        "first_seconds": "time of the first event",
        "next_free": "next row of the list of free rows",
        "pairs": "pointer to the run in `pairs`",
        "postings": "pointer to the run in `postings`",
        "posted": "sessions ever posted, which gives the position in the ring: the lower 32 bits",
        "last_seconds": "time of the last event",
        "last_visitor": "row of the visitor of the last event",
        "other_seconds": "time of the last event by a visitor other than `last_visitor`",
        "listed": "for each half-life the place in its list in `top`, from 1; 0 is none",
        "leaving": "1 if the item is about to be evicted",
        "posted_high": "the 16 bits above `posted`",
    },
    "visitors": {
        "key0": "first half of the 128-bit salted hash of the visitor's id",
        "key1": "second half",
        "history": "pointer to the run in `history`",
        "entries": "position in the ring; below its length, the number of events",
        "last_seconds": "time of the last event",
        "next_free": "next row of the list of free rows; of visitors with held events, of the list of those",
        "session": "row of the present session",
        "session_ordinal": "number of that session: the lower 32 bits",
        "first_seconds": "time of the first event",
        "session_ordinal_high": "the 16 bits above",
        "leaving": "1 if the visitor is about to be evicted",
    },
    "history": {
        "item": "row of the item",
        "seconds": "time of the event",
        "weight": "weight, in 1/256",
        "kind": "number of the kind of event",
        "learned": "1 if the event is in the counts",
    },
    "kept_visitors": {
        "key": "first half of the visitor's key; 0 is none",
        "seconds": "time of the last purchase or dislike",
        "entries": "number of the place's rows of `kept_items`; 0: the number of the place itself, or never used",
    },
    "kept_items": {
        "item": "row of the item",
        "check": "upper half of the item's first key; if the row has another key, the entry counts for none",
        "bought": "time of the last purchase; 0 is never",
        "disliked": "time of the dislike that stands; 0 is none",
    },
    "bought": {
        "other": "row of the other item",
        "check": "upper half of the other item's first key; if the row has another key, the slot counts for none",
        "weight": "decayed number of baskets that hold both, as it was at `seconds`",
        "seconds": "time of that number",
    },
    "sessions": {
        "key0": "first half of the 128-bit salted hash of the session's id",
        "key1": "second half",
        "ordinal": "number of the session, from the first one of the model: the lower 32 bits",
        "last_seconds": "time of the last event",
        "items": "unique items, at most 50",
        "ordinal_high": "the 16 bits above `ordinal`",
        "spare": "unused",
    },
    "pairs": {
        "other": "row of the other item",
        "together": "decayed count of both in one history",
        "forward": "decayed count of the other one following",
        "fast": "the same with a half-life of one day",
    },
}

SIZES = ("max_items", "max_visitors", "max_sessions", "max_event_ids", "max_kept_visitors", "max_kept_items", "repeats")
"""Model settings that decide how many rows tables have."""


def overview() -> str:
    specs = {spec.name: spec for spec in _specs(ModelSettings())}
    grows = _grows_with()
    rows = [
        [
            code(name),
            description.row,
            f"{specs[name].rows:,}",
            ", ".join(code(each) for each in grows[name]),
            f"{specs[name].row_bytes:,}",
            f"{specs[name].block_bytes:,}",
        ]
        for name, description in DESCRIPTIONS.items()
    ]
    return table(["table", "a row is", "rows", "grows with", "bytes a row", "bytes a block"], rows)


def columns() -> str:
    return "\n\n".join(_one(spec) for spec in _specs(ModelSettings()))


def _one(spec: TableSpec) -> str:
    dtype, shape = spec.dtype.subdtype or (spec.dtype, ())
    many = f"{shape[0]} times " if shape and shape[0] != 1 else ""
    writers = " and ".join(code(file) for file in DESCRIPTIONS[spec.name].files)
    if not dtype.names:
        return f"### {code(spec.name)}\n\nA row is {many}{dtype.name}. Written by {writers}."
    described = COLUMNS[spec.name]
    rows = [[code(name), dtype[name].name, described[name]] for name in dtype.names]
    form = f"{many}the following record of {dtype.itemsize} bytes" if many else "this record"
    opening = f"A row is {form}. Written by {writers}."
    return f"### {code(spec.name)}\n\n{opening}\n\n{table(['column', 'dtype', 'what it is'], rows)}"


def _grows_with() -> dict[str, list[str]]:
    """For each table, the settings on which its number of rows depends. Found by changing one after the other."""
    usual = {spec.name: spec.rows for spec in _specs(ModelSettings())}
    found: dict[str, list[str]] = {name: [] for name in usual}
    for setting in SIZES:
        other = "first" if setting == "repeats" else 64
        for spec in _specs(ModelSettings(**{setting: other})):
            if spec.rows != usual[spec.name]:
                found[spec.name].append(setting)
    for setting in ("max_visitors",):  # the table `seen` has rows only with `repeats=first`
        first, fewer = ModelSettings(repeats="first"), ModelSettings(**{"repeats": "first", setting: 64})
        for spec, less in zip(_specs(first), _specs(fewer), strict=True):
            if spec.rows != less.rows and setting not in found[spec.name]:
                found[spec.name].append(setting)
    return found


def _specs(settings: ModelSettings) -> Iterator[TableSpec]:
    """Every table but those of sources of one's own, which depend on what is installed."""
    return (spec for spec in table_specs(settings) if spec.name not in CUSTOM)


SECTIONS = {"tables": overview, "columns": columns}
