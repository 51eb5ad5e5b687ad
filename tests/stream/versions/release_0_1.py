"""A Redis as release 0.1 left it, with the results that this release read from it; see `data/README.md`."""

from __future__ import annotations

import hashlib
import lzma
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import redis

from stream.state.tables import Tables
from stream.versions import VersionStore

FILE = Path(__file__).parent / "data" / "release-0.1.msgpack.xz"
MODEL = "default"


@cache
def fixture() -> dict[str, Any]:
    return msgspec.msgpack.decode(lzma.decompress(FILE.read_bytes()))


def restore(client: redis.Redis) -> None:
    """Write every key of the fixture."""
    for key, stored in fixture()["redis"].items():
        value = stored["value"]
        match stored["type"]:
            case "hash":
                client.hset(key, mapping=value)
            case "zset":
                client.zadd(key, dict(value))
            case "list":
                client.rpush(key, *value)
            case "string":
                client.set(key, value)


FORMAT = 1
"""The only format that the release reads, of stores and of manifests."""


class Refused(Exception):
    """The error of the release; its class there is `UnknownFormat`."""


def claim_as_release_0_1(store: VersionStore) -> None:
    """The check with which the release's claim script begins. It claims nothing.

    Raises:
        Refused: with the message that its worker logs.
    """
    found = store.redis.hget(store.keys.store, "format")
    if found and found != str(FORMAT).encode():
        raise Refused(
            f"model {store.model!r} in Redis has format {found.decode()}; this release reads and writes {FORMAT}. "
            "Use another CORRENTE_MODEL_NAME or the release that wrote it"
        )


def read_as_release_0_1(manifest: bytes) -> dict[str, Any]:
    """A manifest, as the release reads it, before it looks at anything else than the format.

    Raises:
        Refused: with the message that its server logs and shows in `/health/ready`.
    """
    fields = msgspec.json.decode(manifest)
    if fields["format"] != FORMAT:
        raise Refused(
            f"version {fields.get('number')} has manifest format {fields['format']!r}; this release reads {FORMAT}"
        )
    return fields


LATER_TABLES = {"clock", "kept_visitors", "kept_items", "bought"}
"""Tables that the release did not have."""


AFTER_DISLIKES = {"sums", "merits", "linear", "network", "challenger"}
"""Tables that differ from those of the release after a dislike. There it took from the sums of every item that the
visitor had before, also if no pair of theirs lost anything; today it takes what the pair loses. Rankers learn from
features that are made of these sums."""


def checksums(tables: Tables) -> dict[str, str]:
    """Checksum of each table that the release had, with as many rows as it had there."""
    rows = {"names": 2 * (tables["items"].spec.rows - 1) + 16}
    assert not tables["names"].data[rows["names"] :].any(), "the release had no cells for longer names"
    return {
        name: hashlib.sha256(table.raw()[: rows.get(name)].tobytes()).hexdigest()
        for name, table in tables.items()
        if name not in LATER_TABLES
    }
