"""Records of one model's keys in Redis, beside its versions and under the same hash tag.

Every change names the record that it was made from; another change in between is noticed, and nothing is written then.
Errors of the connection are redis-py's own and pass through.

This file decides how records are read, made and changed. Names of keys in Redis are decided by
`stream.versions.storage.keys`, and what a change contains by `stream.access.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from stream.access.acts import Act
from stream.access.keys import KeyRecord
from stream.access.scopes import WrongKey
from stream.versions.storage import access_scripts
from stream.versions.storage.namespace import Namespace, text
from stream.versions.storage.requests import KeysRequest


class ChangedMeanwhile(WrongKey):
    """Another command changed the same key at the same time. Nothing was written; asking again is right."""


class KeyStore:
    """The keys of one model.

    Args:
        space: the model's part of a Redis. Its client is safe to share between threads.
    """

    def __init__(self, space: Namespace) -> None:
        self.model = space.model
        self._redis, self._keys = space.redis, space.keys
        self._change = space.script(access_scripts.CHANGE_KEYS)
        self._decode = msgspec.json.Decoder(KeyRecord).decode
        self._read: dict[str, bytes] = {}
        """Records as they were read last, by id: another release may have written fields that this one doesn't know."""

    def records(self) -> list[KeyRecord]:
        """Every key that was ever made, oldest first, revoked ones included."""
        self._read = {text(key): record for key, record in self._redis.hgetall(self._keys.keys).items()}
        found = map(self._decode, self._read.values())
        return sorted(
            (record for record in found if record.model == self.model), key=lambda each: (each.created_at, each.id)
        )

    def find(self, beginning: str) -> KeyRecord:
        """The key whose id begins so.

        Raises:
            WrongKey: there is none, or there are several.
        """
        fitting = [record for record in self.records() if record.id.startswith(beginning)] if beginning else []
        if len(fitting) != 1:
            found = "no key" if not fitting else f"{len(fitting)} keys"
            raise WrongKey(f"model {self.model!r} has {found} {beginning!r}: `corrente keys list` has their ids")
        return fitting[0]

    def change(self, changes: Sequence[tuple[KeyRecord | None, KeyRecord]], act: Act) -> None:
        """Write records, all or none of them, and the act into the audit trail, in one atomic step.

        Args:
            changes: each record as this object read it last (None: there is none) and as it shall be.
            act: what the audit trail keeps of it.

        Raises:
            ChangedMeanwhile: one of the records is another one by now.
        """
        encode = msgspec.json.encode
        cells = [
            cell
            for before, after in changes
            for cell in (after.id, b"" if before is None else self._read[before.id], encode(after))
        ]
        status, *which = self._change(KeysRequest(encode(act)), *cells)
        if text(status) != "ok":
            raise ChangedMeanwhile(f"key {text(which[0])} was changed by another command meanwhile: try again")

    def last_uses(self) -> dict[str, float]:
        """Time of the last use of each key that was used, in seconds since the epoch, by id."""
        return {text(key): float(moment) for key, moment in self._redis.hgetall(self._keys.keys_used).items()}

    def note_uses(self, uses: Mapping[str, float]) -> None:
        """Note when keys were used last.

        Args:
            uses: seconds since the epoch by id of a key; not empty.
        """
        self._redis.hset(self._keys.keys_used, mapping={key: f"{moment:.0f}" for key, moment in uses.items()})
