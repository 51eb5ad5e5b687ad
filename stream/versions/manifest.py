"""A version: an immutable, readable manifest over all shards, named by its own hash.

The manifest says what each shard's state *is* (its digest, its offsets), not how Redis encodes it: a state may be
re-encoded (a keyframe instead of deltas) without any version changing. The digest is a chain: it hashes the parent's
digest with what was written since, so that two states with one digest had the same history.

This file decides what a manifest contains, and its bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from stream.shard.counters import learned_events
from stream.versions.errors import CorruptVersion, UnknownFormat
from stream.versions.salt import without_salt

FORMAT = 2
"""Version of the form of manifests, of state records and of the keys around them. In 1, of release 0.1, offsets are by
topic, and nothing has names; in 2 offsets are by log (`stream.shard.logs`), and states carry names of features."""

READABLE = (1, 2)
"""Formats that this release reads."""


@dataclass(frozen=True)
class ShardState:
    """One state of one shard, as a manifest names it.

    Attributes:
        seq: rises by one with each publish of the shard; a Redis that came back older may give one twice.
        digest: sha256 over the parent's digest, the written blocks, the readable state and the journal.
        offsets: next offset by topic.
        counters: by topic: read, learned, duplicates, refused, dead letters (`stream.shard.counters`).
        tables: blocks written since the parent, by table.
        journal: batches since the parent.
        names: digest of the names of sources, rankings and features (`stream.models.state_names`); empty for a state of
            release 0.1, which carries none.
        layout: capacities of its tables, and columns of sources of one's own (`stream.models.migration.layout`); empty
            for a state of an earlier release, which has the capacities of its version's settings.
    """

    seq: int
    digest: str
    offsets: dict[str, int] = field(default_factory=dict)
    counters: dict[str, dict[str, int]] = field(default_factory=dict)
    tables: dict[str, int] = field(default_factory=dict)
    journal: dict[str, int] = field(default_factory=dict)
    names: str = ""
    layout: dict[str, Any] = field(default_factory=dict)

    @property
    def events(self) -> int:
        """Events learned in the life of the shard."""
        return sum(map(learned_events, self.counters.values()))


@dataclass(frozen=True)
class Version:
    """A version, read from its manifest.

    Attributes:
        number: rises with every version of the model.
        id: sha256 of the manifest's bytes, 64 hexadecimal digits.
        parent: id of the version before; None for the first one.
        lineage: changes when a Redis came back older than what had been published.
        created_at: seconds since the epoch.
        model: name of the model.
        shards: state of each shard, by partition.
        events: learned by all shards.
        metrics, drift: by partition: a shard sees only its own events.
        settings: the model's, with the digest of the visitor salt. Manifests of release 0.1 carry the salt itself, so
            only `stream.versions.salt.redacted` may be shown.
        code_version: of the program that learned.
        format: of the manifest.
    """

    number: int
    id: str
    parent: str | None
    lineage: str
    created_at: float
    model: str
    shards: dict[int, ShardState]
    events: int
    metrics: dict[str, Any]
    drift: dict[str, Any]
    settings: dict[str, Any] = field(repr=False)
    code_version: str
    format: int = FORMAT

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest as it is stored: plain JSON types, `id` left out. Show it through `salt.redacted` only."""
        return {
            "format": self.format,
            "number": self.number,
            "parent": self.parent,
            "lineage": self.lineage,
            "created_at": rfc3339(self.created_at),
            "model": self.model,
            "shards": {str(partition): _builtins(state) for partition, state in self.shards.items()},
            "events": self.events,
            "metrics": self.metrics,
            "drift": self.drift,
            "settings": self.settings,
            "code_version": self.code_version,
        }


def _builtins(state: ShardState) -> dict[str, Any]:
    """A state as plain JSON types. One of an earlier release gets no later field: its manifest keeps its bytes."""
    fields: dict[str, Any] = msgspec.to_builtins(state)
    return {name: value for name, value in fields.items() if value or name not in {"names", "layout"}}


def write_manifest(
    *,
    number: int,
    parent: str | None,
    lineage: str,
    now: float,
    model: str,
    shards: Mapping[int, ShardState],
    metrics: Mapping[str, Any],
    drift: Mapping[str, Any],
    settings: Mapping[str, Any],
    code_version: str,
) -> tuple[Version, bytes]:
    """The next version and the bytes of its manifest. The id is their sha256. The visitor salt becomes its digest."""
    draft = Version(
        number=number,
        id="",
        parent=parent,
        lineage=lineage,
        created_at=now,
        model=model,
        shards=dict(sorted(shards.items())),
        events=sum(state.events for state in shards.values()),
        metrics=dict(metrics),
        drift=dict(drift),
        settings=without_salt(settings),
        code_version=code_version,
    )
    encoded = canonical_json(draft.manifest)
    return read_manifest(encoded), encoded


def read_manifest(encoded: bytes, expected_id: str | None = None) -> Version:
    """The version that a manifest describes.

    Raises:
        UnknownFormat: another release wrote it.
        CorruptVersion: the bytes are no manifest, or not the one that the id names.
    """
    version_id = hashlib.sha256(encoded).hexdigest()
    if expected_id is not None and version_id != expected_id:
        raise CorruptVersion(f"the manifest of version {expected_id[:12]} hashes to {version_id[:12]}: it was changed")
    try:
        fields = msgspec.json.decode(encoded)
        if fields["format"] not in READABLE:
            raise UnknownFormat(
                f"version {fields.get('number')} has manifest format {fields['format']!r}; this release reads "
                f"{' and '.join(map(str, READABLE))}. A later release wrote it: upgrade servers before workers"
            )
        return Version(
            number=fields["number"],
            id=version_id,
            parent=fields["parent"],
            lineage=fields["lineage"],
            created_at=datetime.fromisoformat(fields["created_at"]).timestamp(),
            model=fields["model"],
            shards=msgspec.convert(fields["shards"], dict[int, ShardState], strict=False),
            events=fields["events"],
            metrics=fields["metrics"],
            drift=fields["drift"],
            settings=fields["settings"],
            code_version=fields["code_version"],
            format=fields["format"],
        )
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise CorruptVersion(f"{len(encoded)} bytes are no manifest: {error!r}") from error


def canonical_json(value: Any) -> bytes:
    """JSON with sorted keys and no spaces: the same value is always the same bytes. NaN and infinities become null."""
    return msgspec.json.encode(value, order="deterministic")


def rfc3339(seconds: float) -> str:
    """A moment for people, RFC 3339 in UTC, to the microsecond.

    >>> rfc3339(0.25)
    '1970-01-01T00:00:00.250000Z'
    """
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
