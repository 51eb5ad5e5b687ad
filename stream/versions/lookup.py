"""Versions by number, alias or id, and lists of them: manifests only, no tables.

This file decides how a name finds a version. Every manifest is checked against its id.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec

from stream.versions.aliases import LATEST, PINNED, is_id_prefix
from stream.versions.errors import CorruptVersion, LostData, UnknownFormat, UnknownVersion
from stream.versions.manifest import Version, read_manifest
from stream.versions.storage import scripts
from stream.versions.storage.namespace import Namespace, text

_MANIFESTS_A_ROUND_TRIP = 64


class VersionLookup:
    """The versions of one model."""

    def __init__(self, space: Namespace) -> None:
        self._space = space
        self._read = space.script(scripts.READ)

    def first_of(self, *names: str) -> Version | None:
        """The version of the first of some names that points to one: `#<number>`, `latest` or an alias.

        Raises:
            LostData: an alias or `latest` points to a version that Redis has lost.
        """
        reply = self._read((), *names)
        if not reply:
            return None
        number, version_id, manifest = reply
        if manifest is not None and version_id is not None:
            return read_manifest(manifest, text(version_id))
        if f"#{text(number)}" in names:
            return None
        raise LostData(
            f"version {text(number)} of model {self._space.model!r}, which {' or '.join(names)} names, is lost: Redis "
            "no longer has its manifest. A worker that opens a shard finds the newest version that is left; "
            "`corrente versions follow` takes a pin away"
        )

    def latest(self) -> Version | None:
        """The newest version."""
        return self.first_of(LATEST)

    def served(self) -> Version | None:
        """The version that serving answers from: `pinned` if it is set, else the newest."""
        return self.first_of(PINNED, LATEST)

    def version(self, name: int | str) -> Version:
        """The version of a number, an alias, or an id or the first seven or more characters of one.

        Raises:
            UnknownVersion: there is none.
        """
        redis, keys, model = self._space.redis, self._space.keys, self._space.model
        wanted = str(name)
        found = self.first_of(f"#{int(wanted)}" if wanted.isdecimal() else wanted)
        if found is None and is_id_prefix(wanted):  # an id may begin with digits only
            ids = [version_id for version_id in redis.hkeys(keys.ids) if text(version_id).startswith(wanted)]
            if len(ids) > 1:
                raise UnknownVersion(f"{len(ids)} ids of model {model!r} start with {wanted}; give more of it")
            number = redis.hget(keys.ids, ids[0]) if ids else None
            found = self.first_of(f"#{int(number)}") if number else None
        if found is None and self.latest() is None:
            raise UnknownVersion(
                f"model {model!r} has no versions yet: no worker has published one, or CORRENTE_MODEL_NAME or "
                "CORRENTE_REDIS name others"
            )
        if found is None:
            raise UnknownVersion(
                f"model {model!r} has no version {name!r}: it never was, or retention has thinned it out. "
                "`corrente versions list` shows what there is"
            )
        return found

    def versions(self) -> list[Version]:
        """All versions that are kept, newest first."""
        return [read_manifest(manifest, version_id) for manifest, version_id in self._manifests()]

    def readable_versions(self, most: int) -> list[Version]:
        """The newest versions whose manifest can be read; see `VersionStore.readable_versions`."""
        found: list[Version] = []
        for manifest, version_id in self._manifests():
            with contextlib.suppress(UnknownFormat, CorruptVersion):
                found.append(read_manifest(manifest, version_id))
            if len(found) == most:
                break
        return found

    def _manifests(self) -> Iterator[tuple[bytes, str]]:
        """Manifest and id of each version, newest first."""
        redis, keys = self._space.redis, self._space.keys
        numbers = sorted((int(number) for number in redis.zrange(keys.versions, 0, -1)), reverse=True)
        for at in range(0, len(numbers), _MANIFESTS_A_ROUND_TRIP):
            with redis.pipeline(transaction=False) as pipe:
                for number in numbers[at : at + _MANIFESTS_A_ROUND_TRIP]:
                    pipe.hmget(keys.version(number), ["manifest", "id"])
                rows = pipe.execute()
            yield from ((manifest, text(version_id)) for manifest, version_id in rows if manifest)

    def states_in_versions(self, partition: int) -> set[int]:
        """Numbers of the states of a shard that the kept versions have."""
        redis, keys = self._space.redis, self._space.keys
        numbers = redis.zrange(keys.versions, 0, -1)
        with redis.pipeline(transaction=False) as pipe:
            for number in numbers:
                pipe.hget(keys.version(int(number)), "shards")
            found = [
                msgspec.json.decode(shards, type=dict[int, int], strict=False) for shards in pipe.execute() if shards
            ]
        return {shards[partition] for shards in found if partition in shards}
