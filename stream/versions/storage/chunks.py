"""How tables and journals lie in Redis: self-contained pieces of at most a MiB, each with its checksum.

A large value blocks Redis for everyone while it is written, and Python while it is copied (4 MiB for up to 9 ms, and
they are read half as fast); small pieces do neither. Each piece of tables is a delta of its own (safetensors), so a
reader can decode and apply one while the next arrives. Chunks are written first and expire by themselves: only the
script that makes a state visible lets them stay.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import cramjam
import msgspec
import numpy as np

from stream.state.codec import decode_delta, encode_delta
from stream.state.journal import CorruptJournal, Journal
from stream.state.tables import Bytes, CorruptDelta, Delta, TableDelta
from stream.versions.errors import CorruptVersion, UnknownFormat
from stream.versions.storage.keys import Keys
from stream.versions.storage.mget_into import receive

CHUNK_BYTES = 1024 * 1024
UNREFERENCED_SECONDS = 600
"""How long a chunk lives before the state is visible that refers to it."""

REPLACED_SECONDS = 30
"""How long a chunk lives on after its state was encoded anew, for readers that are on their way to it."""

PLAIN, PACKED = "safetensors", "safetensors+zstd"
"""Codecs of tables."""

ZSTD_LEVEL = 1
"""The next levels take twice the time for a thirtieth fewer bytes."""

ALONE_BYTES = 64 * 1024
"""From here on a table is packed for itself."""

FETCH_BYTES = 2 * 1024 * 1024
"""How much is asked for at once."""

_HEADER_BYTES = 4096
"""Room for the names and shapes in a safetensors file."""


class ChunkRef(msgspec.Struct, frozen=True):
    """Where a chunk is and what it must be. `bytes` and `sha256` are of the stored (compressed) form."""

    name: str
    bytes: int
    sha256: str
    codec: str


class ChunkVanished(LookupError):
    """A chunk is gone: its state was re-encoded long ago (read the record again), or Redis lost it."""


def split(delta: Delta, limit_bytes: int = CHUNK_BYTES - _HEADER_BYTES) -> Iterator[Delta]:
    """The same delta in pieces of at most `limit_bytes`, in the order of table names and blocks."""
    piece: Delta = {}
    room = limit_bytes
    for name in sorted(delta):
        blocks, data = delta[name].blocks, delta[name].data
        each_bytes = blocks.itemsize + data.shape[1]
        at = 0
        while at < len(blocks):
            take = min(room // each_bytes, len(blocks) - at)
            if take == 0:
                yield piece
                piece, room = {}, limit_bytes
                continue
            piece[name] = TableDelta(blocks[at : at + take], data[at : at + take])
            room -= take * each_bytes
            at += take
    if piece:
        yield piece


def encode_tables(delta: Delta, *, pack: bool = False) -> Iterator[tuple[bytes, str]]:
    """Pieces of a delta as (bytes, codec).

    Packing takes time (zstd at its quickest: 400 MB/s, five times as fast as zlib), so what is published at once is
    left as it is and what is folded for keeping is packed, each larger table for itself: pairs, lists and times become
    a fifth to a half, learned vectors four fifths.
    """
    for group in _by_table(delta) if pack else [delta]:
        for piece in split(group):
            if pack:
                yield bytes(cramjam.zstd.compress(encode_delta(piece, planes=True), ZSTD_LEVEL)), PACKED
            else:
                yield encode_delta(piece), PLAIN


def _by_table(delta: Delta) -> Iterator[Delta]:
    """Each larger table alone, the small ones together."""
    small = {name: part for name, part in delta.items() if part.nbytes < ALONE_BYTES}
    if small:
        yield small
    for name, part in delta.items():
        if name not in small:
            yield {name: part}


def decode_tables(ref: ChunkRef, encoded: bytes | memoryview, room: Bytes | None = None) -> Delta:
    """A piece of tables; what was packed lies in `room` (`CHUNK_BYTES` of it) if that is given.

    Raises:
        CorruptVersion, UnknownFormat
    """
    verify(ref, encoded)
    try:
        if ref.codec == PACKED:
            size = cramjam.zstd.decompress_into(encoded, _own.unpacked)
            return decode_delta(memoryview(_own.unpacked)[:size], room)
        if ref.codec == PLAIN:
            return decode_delta(encoded)
    except (cramjam.DecompressionError, CorruptDelta) as error:
        raise CorruptVersion(f"a chunk with the right checksum can't be decoded: {error}") from error
    raise UnknownFormat(f"a chunk of tables is encoded as {ref.codec!r}, which this release does not read")


def receive_tables(redis: Any, keys: Keys, refs: Sequence[ChunkRef]) -> Iterator[Delta]:
    """What is in these chunks; each is read before the next is asked for.

    Raises:
        ChunkVanished: one is not there.
        CorruptVersion, UnknownFormat
    """
    while len(_own.received) < len(refs):
        _own.received.append(bytearray(CHUNK_BYTES))
    rooms = [memoryview(room) for room in _own.received[: len(refs)]]
    for ref, encoded in zip(refs, receive(redis, [keys.chunk(ref.name) for ref in refs], rooms), strict=True):
        if encoded is None:
            raise _vanished(ref)
        yield decode_tables(ref, encoded, _own.rows)


class _Own(threading.local):
    """Room that each thread has, for what is received, unpacked, and brought into rows: memory that nobody has touched
    costs more than any of it.
    """

    def __init__(self) -> None:
        self.received: list[bytearray] = []
        self.unpacked = bytearray(CHUNK_BYTES)
        self.rows = np.empty(CHUNK_BYTES, np.uint8)


_own = _Own()


def decode_journal(ref: ChunkRef, encoded: bytes) -> Journal:
    """Raises `CorruptVersion` or `UnknownFormat`."""
    verify(ref, encoded)
    if ref.codec != "journal":
        raise UnknownFormat(f"a journal is encoded as {ref.codec!r}, which this release does not read")
    try:
        return Journal.decode(encoded)
    except CorruptJournal as error:
        raise CorruptVersion(f"a journal with the right checksum can't be decoded: {error}") from error


def verify(ref: ChunkRef, encoded: bytes | memoryview) -> None:
    """Raises `CorruptVersion` unless these are the bytes that were written."""
    if len(encoded) != ref.bytes or hashlib.sha256(encoded).hexdigest() != ref.sha256:
        raise CorruptVersion(
            f"chunk {ref.name} ({ref.bytes} bytes) does not have the checksum that its state names: "
            "Redis holds other bytes than were published. Roll back to another version"
        )


def write_chunks(redis: Any, keys: Keys, pieces: Iterable[tuple[bytes, str]]) -> list[ChunkRef]:
    """Write pieces under new names, expiring. One round trip a piece: no piece waits behind a large buffer."""
    refs = []
    attempt = uuid.uuid4().hex
    for number, (encoded, codec) in enumerate(pieces):
        ref = ChunkRef(f"{attempt}-{number}", len(encoded), hashlib.sha256(encoded).hexdigest(), codec)
        redis.set(keys.chunk(ref.name), encoded, ex=UNREFERENCED_SECONDS)
        refs.append(ref)
    return refs


def fetch_chunks(redis: Any, keys: Keys, refs: Sequence[ChunkRef]) -> Iterator[tuple[ChunkRef, bytes]]:
    """The chunks in order, as Redis has them.

    Raises:
        ChunkVanished: one is not there.
    """
    for group in _groups(refs):
        for ref, encoded in zip(group, redis.mget([keys.chunk(ref.name) for ref in group]), strict=True):
            if encoded is None:
                raise _vanished(ref)
            yield ref, encoded


def _vanished(ref: ChunkRef) -> ChunkVanished:
    return ChunkVanished(f"chunk {ref.name} is gone")


def _groups(refs: Sequence[ChunkRef]) -> Iterator[list[ChunkRef]]:
    group: list[ChunkRef] = []
    size = 0
    for ref in refs:
        if group and size + ref.bytes > FETCH_BYTES:
            yield group
            group, size = [], 0
        group.append(ref)
        size += ref.bytes
    if group:
        yield group
