"""Audit trail: one record of each administrative act and of each reading of personal data, in a stream of Redis.

Moves of aliases, pins and rollbacks are recorded by the script that carries them out, and so are changes of keys. The
time is that of Redis's clock. A record can't be changed; the oldest are cut off by number and age
(`stream.versions.storage.access_scripts`).

This file decides how acts are appended and read back. What is kept of one is decided in `stream.access.acts`.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stream.access.acts import READ_VISITORS, Act
from stream.versions.storage import access_scripts
from stream.versions.storage.namespace import Namespace, text
from stream.versions.storage.requests import ActRequest

PAGE = 1000
"""Records that are read at once."""


class AuditRecord(msgspec.Struct, frozen=True):
    """An act, with its place in the trail.

    Attributes:
        id: milliseconds since the epoch by Redis's clock, a hyphen, and a count within the millisecond.
        at: the same time in seconds.
        act: what was done.
    """

    id: str
    at: float
    act: Act


class AuditTrail:
    """The trail of one model.

    Args:
        space: the model's part of a Redis.
    """

    def __init__(self, space: Namespace) -> None:
        self._redis, self._key = space.redis, space.keys.audit
        self._note = space.script(access_scripts.NOTE_ACT)

    def note(self, act: Act) -> None:
        """Append an act that Redis does not carry out itself, before it is carried out."""
        self._note(ActRequest(msgspec.json.encode(act)))

    def newest(self, limit: int) -> list[AuditRecord]:
        """The newest records, newest first."""
        return [_record(*entry) for entry in self._redis.xrevrange(self._key, count=limit)]

    def newest_readings(self, visitor: str, limit: int) -> list[AuditRecord]:
        """The newest records of readings of what is known of a visitor, newest first. The whole trail is read.

        Args:
            visitor: as `hidden_visitor` gives it.
            limit: most records.
        """
        found = [
            record
            for record in self.since(0.0)
            if record.act.what == READ_VISITORS and visitor in record.act.target.split()
        ]
        return found[: -limit - 1 : -1]

    def since(self, moment: float) -> Iterator[AuditRecord]:
        """Records from a moment on (seconds since the epoch), oldest first, read page by page."""
        start = f"{moment * 1000:.0f}"
        while entries := self._redis.xrange(self._key, min=start, count=PAGE):
            yield from (_record(*entry) for entry in entries)
            start = f"({text(entries[-1][0])}"


def _record(entry: bytes, fields: dict[bytes, bytes]) -> AuditRecord:
    name = text(entry)
    return AuditRecord(name, int(name.partition("-")[0]) / 1000, msgspec.json.decode(fields[b"act"], type=Act))
