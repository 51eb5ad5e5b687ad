"""Chunks: tables and journals in Redis as self-contained values of at most a MiB, each with its checksum.

A large value blocks Redis for everyone while it is written, and Python while it is copied (4 MiB for up to 9 ms, and
they are read half as fast); small chunks do neither. Each chunk of tables is a delta of its own (safetensors), so a
reader can decode and apply one while the next arrives. Chunks are written first and expire by themselves: only the
script that makes a state visible makes them permanent.

This file decides how tables are split into chunks, how chunks are encoded and checked, and how long they live.
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
from stream.versions.errors import CorruptVersion, LostData, UnknownFormat
from stream.versions.storage.keys import Keys
from stream.versions.storage.mget_into import mget_into

CHUNK_BYTES = 1024 * 1024
UNREFERENCED_SECONDS = 600
"""Lifetime of a chunk before the state that refers to it is visible."""

REPLACED_SECONDS = 30
"""Lifetime of a chunk after its state was encoded anew, for readers that are on their way to it."""

PLAIN, PACKED = "safetensors", "safetensors+zstd"
"""Codecs of tables."""

JOURNAL = "journal"
"""Codec of journals."""

ZSTD_LEVEL = 1
"""Compression level. The next ones take twice the time for a thirtieth fewer bytes."""

ALONE_BYTES = 64 * 1024
"""Size from which a table is packed into chunks of its own."""

TOGETHER_BYTES = 128 * 1024
"""Most bytes of chunks that are written in one round trip, unless a single chunk is larger."""

FETCH_BYTES = 2 * 1024 * 1024
"""Bytes of chunks that one MGET asks for."""

_HEADER_BYTES = 4096
"""Bytes left for the names and shapes in a safetensors file."""


class ChunkRef(msgspec.Struct, frozen=True):
    """A reference to a chunk: its name, and the size and checksum of its stored (compressed) bytes."""

    name: str
    bytes: int
    sha256: str
    codec: str


class ChunkVanished(LookupError):
    """A chunk is gone: its state was re-encoded long ago (read the record again), or Redis lost it."""


def split(delta: Delta, limit_bytes: int = CHUNK_BYTES - _HEADER_BYTES) -> Iterator[Delta]:
    """A delta in parts of at most `limit_bytes` each, in the order of table names and blocks."""
    part: Delta = {}
    free_bytes = limit_bytes
    for name in sorted(delta):
        blocks, data = delta[name].blocks, delta[name].data
        each_bytes = blocks.itemsize + data.shape[1]
        at = 0
        while at < len(blocks):
            take = min(free_bytes // each_bytes, len(blocks) - at)
            if take == 0:
                yield part
                part, free_bytes = {}, limit_bytes
                continue
            part[name] = TableDelta(blocks[at : at + take], data[at : at + take])
            free_bytes -= take * each_bytes
            at += take
    if part:
        yield part


def encode_tables(delta: Delta, *, pack_bytes: float = 0) -> Iterator[tuple[bytes, str]]:
    """The contents of chunks for a delta, as (bytes, codec).

    Packing takes time (zstd at its quickest: 400 MB/s, five times zlib's speed), so fresh deltas are left plain and
    folded ones, which are kept for long, are packed, each larger table for itself: pairs, lists and times shrink to
    between a fifth and a half, learned vectors to four fifths.

    Args:
        delta: blocks to store.
        pack_bytes: size up to which a table is compressed, with the bytes of blocks sorted by their meaning.
    """
    plain = {name: part for name, part in delta.items() if part.nbytes > pack_bytes}
    for part in split(plain):
        yield encode_delta(part), PLAIN
    for group in _by_table({name: part for name, part in delta.items() if name not in plain}):
        for part in split(group):
            yield bytes(cramjam.zstd.compress(encode_delta(part, planes=True), ZSTD_LEVEL)), PACKED


def _by_table(delta: Delta) -> Iterator[Delta]:
    """Each larger table alone, the small ones together."""
    small = {name: part for name, part in delta.items() if part.nbytes < ALONE_BYTES}
    if small:
        yield small
    for name, part in delta.items():
        if name not in small:
            yield {name: part}


def decode_tables(ref: ChunkRef, encoded: bytes | memoryview, buffer: Bytes | None = None) -> Delta:
    """The delta in one chunk.

    Args:
        ref: reference to the chunk.
        encoded: its bytes.
        buffer: `CHUNK_BYTES` bytes for blocks that were packed; memory of their own if None.

    Raises:
        CorruptVersion: these are not the bytes that were written, or they are no delta.
        UnknownFormat: the codec is none that this release reads.
    """
    verify(ref, encoded)
    try:
        if ref.codec == PACKED:
            size = cramjam.zstd.decompress_into(encoded, _buffers.unpacked)
            return decode_delta(memoryview(_buffers.unpacked)[:size], buffer)
        if ref.codec == PLAIN:
            return decode_delta(encoded)
    except (cramjam.DecompressionError, CorruptDelta) as error:
        raise CorruptVersion(f"a chunk with the right checksum can't be decoded: {error}") from error
    raise UnknownFormat(f"a chunk of tables is encoded as {ref.codec!r}, which this release does not read")


def receive_tables(redis: Any, keys: Keys, refs: Sequence[ChunkRef]) -> Iterator[Delta]:
    """The deltas in these chunks, in memory of the thread that the next one overwrites: use each before the next.

    Raises:
        ChunkVanished: one is not there.
        CorruptVersion: one is not what was written.
        UnknownFormat: a codec is none that this release reads.
    """
    while len(_buffers.received) < len(refs):
        _buffers.received.append(bytearray(CHUNK_BYTES))
    buffers = [memoryview(buffer) for buffer in _buffers.received[: len(refs)]]
    for ref, encoded in zip(refs, mget_into(redis, [keys.chunk(ref.name) for ref in refs], buffers), strict=True):
        if encoded is None:
            raise _vanished(ref)
        yield decode_tables(ref, encoded, _buffers.rows)


class _ThreadBuffers(threading.local):
    """Memory that each thread keeps for receiving, unpacking and sorting chunks.

    Fresh memory costs more than any of these: the system has to clear every page at its first use.
    """

    def __init__(self) -> None:
        self.received: list[bytearray] = []
        self.unpacked = bytearray(CHUNK_BYTES)
        self.rows = np.empty(CHUNK_BYTES, np.uint8)


_buffers = _ThreadBuffers()


def decode_journal(ref: ChunkRef, encoded: bytes) -> Journal:
    """The journal in one chunk. Raises `CorruptVersion` or `UnknownFormat`."""
    verify(ref, encoded)
    if ref.codec != JOURNAL:
        raise UnknownFormat(f"a journal is encoded as {ref.codec!r}, which this release does not read")
    try:
        return Journal.decode(encoded)
    except CorruptJournal as error:
        raise CorruptVersion(f"a journal with the right checksum can't be decoded: {error}") from error


def verify(ref: ChunkRef, encoded: bytes | memoryview) -> None:
    """Check a chunk's bytes. Raises `LostData` unless they are those that were written."""
    if len(encoded) != ref.bytes or hashlib.sha256(encoded).hexdigest() != ref.sha256:
        raise LostData(
            f"chunk {ref.name} ({ref.bytes} bytes) does not have the checksum that its state names: "
            "Redis holds other bytes than were published. Roll back to another version",
            chunk=ref.name,
        )


def write_chunks(redis: Any, keys: Keys, contents: Iterable[tuple[bytes, str]]) -> list[ChunkRef]:
    """Write chunks, given as (bytes, codec), under new names, expiring. Returns their references.

    Chunks of less than `TOGETHER_BYTES` share a round trip with those beside them. A larger one takes a round trip of
    its own, so that no other command waits behind a large buffer.
    """
    refs = []
    attempt = uuid.uuid4().hex
    waiting: list[tuple[ChunkRef, bytes]] = []
    for number, (encoded, codec) in enumerate(contents):
        ref = ChunkRef(f"{attempt}-{number}", len(encoded), hashlib.sha256(encoded).hexdigest(), codec)
        refs.append(ref)
        if sum(other.bytes for other, _ in waiting) + ref.bytes > TOGETHER_BYTES:
            _send_chunks(redis, keys, waiting)
            waiting = []
        waiting.append((ref, encoded))
    _send_chunks(redis, keys, waiting)
    return refs


def _send_chunks(redis: Any, keys: Keys, chunks: Sequence[tuple[ChunkRef, bytes]]) -> None:
    """Write some chunks in one round trip."""
    if len(chunks) == 1:
        (ref, encoded) = chunks[0]
        redis.set(keys.chunk(ref.name), encoded, ex=UNREFERENCED_SECONDS)
    elif chunks:
        pipeline = redis.pipeline(transaction=False)
        for ref, encoded in chunks:
            pipeline.set(keys.chunk(ref.name), encoded, ex=UNREFERENCED_SECONDS)
        pipeline.execute()


def fetch_chunks(redis: Any, keys: Keys, refs: Sequence[ChunkRef]) -> Iterator[tuple[ChunkRef, bytes]]:
    """Chunks in order, with their bytes as Redis has them, unchecked.

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
