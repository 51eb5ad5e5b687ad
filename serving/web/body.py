"""Bodies of requests: their size, their encoding, and the media type of administrative calls.

A body may be compressed with gzip (`Content-Encoding: gzip`), as many producers of events do. It is unpacked while it
arrives, and stops at the limit of a body, so that a few kilobytes can't become gigabytes.

This file decides how the bytes of a body are read on every route. Their meaning is decided by `serving.web.parsing`.
"""

from __future__ import annotations

import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from serving.web.problems import Problem

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Headers = Iterable[tuple[bytes, bytes]]

GZIP = {b"gzip", b"x-gzip"}
"""Names of gzip (RFC 9110, section 8.4.1.3)."""

MAX_MEMBERS = 100
"""Most gzip members of a body. Each of them costs a copy of what follows it, so the number has to be small."""

_GZIP_WINDOW = 16 + zlib.MAX_WBITS
"""zlib's number for a gzip header and trailer."""


async def read_body(scope: Mapping[str, Any], receive: Receive, max_bytes: int) -> bytes:
    """The whole body, unpacked, of at most `max_bytes`.

    Raises:
        Problem: 413 if it is larger, packed or unpacked; nothing is read if the client has sent its size. 415 if it is
            encoded, and not with gzip. 400 if it is no gzip, or if the client disconnects.
    """
    unpacker = None
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise _too_large(max_bytes)
        if name == b"content-encoding":
            unpacker = _unpacker(value, unpacker, max_bytes)
    chunks = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "The client disconnected before the body was complete.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(unpacker.unpack(chunk) if unpacker else chunk)
        if not message.get("more_body", False):
            if unpacker:
                unpacker.finish()
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def require_json(headers: Headers) -> None:
    """Refuse a request whose media type is not JSON, also if it has no body.

    A page of another site can make a browser send a POST of a form or of plain text to any address that the browser
    reaches, but not one of `application/json`: for that a browser asks the server first, and this one doesn't allow it
    (https://fetch.spec.whatwg.org/#cors-safelisted-request-header).

    >>> require_json([(b"content-type", b"application/json; charset=utf-8")])

    Raises:
        Problem: 415.
    """
    given = next((value for name, value in headers if name == b"content-type"), b"")
    if given.partition(b";")[0].strip().lower() != b"application/json":
        shown = f"not {given.decode('latin-1')[:80]!r}" if given else "which is missing"
        raise Problem(415, f"This call needs the header `Content-Type: application/json`, {shown}.")


class _Unpacker:
    """Unpacks a body of gzip that arrives in pieces, up to a limit.

    Args:
        max_bytes: largest unpacked size.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes
        self._stream = zlib.decompressobj(_GZIP_WINDOW)
        self._members = 0

    def unpack(self, packed: bytes) -> bytes:
        """The unpacked bytes of a piece. Several members one after the other are one body (RFC 1952, section 2.2)."""
        unpacked = []
        try:
            while packed:
                if self._stream.eof or not self._members:
                    self._stream = zlib.decompressobj(_GZIP_WINDOW)
                    self._members += 1
                if self._members > MAX_MEMBERS:
                    raise Problem(400, f"The body has more than {MAX_MEMBERS} gzip members. Send it as one.")
                piece = self._stream.decompress(packed, self._left + 1)
                self._left -= len(piece)
                if self._left < 0:
                    raise _too_large(self._max_bytes)
                unpacked.append(piece)
                packed = self._stream.unused_data
        except zlib.error as error:
            raise Problem(400, f"The body is not gzip, as its Content-Encoding says: {error}.") from None
        return b"".join(unpacked)

    def finish(self) -> None:
        """Raise `Problem` 400 if the stream is not complete. An empty body is none."""
        if self._members and not self._stream.eof:
            raise Problem(400, "The body is not complete: its gzip stream ends early.")


def _unpacker(encoding: bytes, before: _Unpacker | None, max_bytes: int) -> _Unpacker | None:
    names = [name for name in (each.strip().lower() for each in encoding.split(b",")) if name not in {b"", b"identity"}]
    if not names:
        return before
    if len(names) > 1 or names[0] not in GZIP or before is not None:
        raise Problem(
            415,
            f"The body is encoded with {encoding.decode('latin-1')[:80]!r}. Send it with gzip, or as it is.",
            headers={"Accept-Encoding": "gzip", "Connection": "close"},
        )
    return _Unpacker(max_bytes)


def too_large(max_bytes: int) -> str:
    """Text of the refusal of a body that is larger."""
    return f"The body is larger than {max_bytes} bytes (CORRENTE_MAX_BODY_BYTES). Send fewer events at once."


def _too_large(max_bytes: int) -> Problem:
    return Problem(413, too_large(max_bytes), headers={"Connection": "close"})
