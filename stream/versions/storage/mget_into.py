"""MGET into existing memory: chunks get from the connection straight to where they are wanted.

A Redis client collects an answer in a buffer of its own and copies it into new objects. For the chunks of a large
state, that is twice as much fresh memory as the state has bytes, and getting it from the system takes longer than all
the rest of reading. So this one command is read by hand: its request is sent by redis-py's connection, which redis-py
has made, authenticated and chosen, and the answer is received into the caller's memory. This relies on the connection's
private `_sock`; `tests/stream/versions/storage` notices if a release of redis-py changes it.

In version 3 of the protocol a server may send a push at any time between two answers, for instance that it will be
maintained. Pushes before the answer are skipped. A connection on which any came is closed after its use: the next one
is to a server that is there to stay, and a push that was received in part can't be taken for an answer.

This file decides how an answer to MGET is read, and what is an error in it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import redis.exceptions

ATTEMPTS = 2
"""Requests before an answer that another server has to be asked is an error."""

_LINES = b"+-:_#,("
_TEXTS = b"$=!"
_ROWS = {b"*": 1, b"~": 1, b">": 1, b"%": 2, b"|": 2}
"""Types of the protocol [1]: one line, a text of a given length, and rows with the number of values in each.

[1] https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md
"""


def mget_into(client: Any, names: Sequence[str], buffers: Sequence[memoryview]) -> list[memoryview | None]:
    """The values of these keys, each in its buffer; None for a key that is not there.

    A value that is larger than its buffer gets memory of its own.

    Args:
        client: of redis-py.
        names: keys of strings.
        buffers: one for each key.

    Raises:
        redis.exceptions.RedisError: the connection broke, timed out, or the answer was none to MGET. The connection is
            closed, and the client goes on with another one.
    """
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(_AskAgain):
            return _receive(client, names, buffers)
    return _receive(client, names, buffers)


class _AskAgain(redis.exceptions.ConnectionError):
    """The server answered that another one has the keys."""


def _receive(client: Any, names: Sequence[str], buffers: Sequence[memoryview]) -> list[memoryview | None]:
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("MGET", *names)
        with connection._sock.makefile("rb") as answer:  # noqa: SLF001  # redis-py offers no socket in public
            line, pushed = _skip_pushes(answer)
            if line != b"*%d\r\n" % len(names):
                raise _unexpected(line)
            values = [_value(answer, buffer) for buffer in buffers]
            if int(connection.protocol) > 2 and (pushed or _received_more(connection._sock, answer)):  # noqa: SLF001
                connection.disconnect()
            return values
    except BaseException as error:
        connection.disconnect()  # the rest of its answer would be taken for the answer to the next command
        if isinstance(error, TimeoutError):
            raise redis.exceptions.TimeoutError("timeout while receiving chunks") from error
        if isinstance(error, OSError):
            raise redis.exceptions.ConnectionError(f"the connection broke while receiving chunks: {error}") from error
        if isinstance(error, redis.exceptions.ResponseError) and (changed := _other_server(connection, error)):
            raise _AskAgain(str(changed)) from error
        raise
    finally:
        client.connection_pool.release(connection)


def _other_server(connection: Any, error: redis.exceptions.ResponseError) -> Exception | None:
    """The error that the store's own connections make of an answer; None for any other connection."""
    found: Exception | None = connection.other_server(error) if hasattr(connection, "other_server") else None
    return found


def _skip_pushes(answer: Any) -> tuple[bytes, bool]:
    """The first line of the answer itself, and True if a push came before it."""
    pushed = False
    while (line := answer.readline()).startswith(b">"):
        pushed = True
        _skip(answer, line)
    return line, pushed


def _skip(answer: Any, line: bytes) -> None:
    """Read past one value of any type, of which this is the first line."""
    kind = line[:1]
    if not line.endswith(b"\r\n"):
        raise _unexpected(line)
    if kind in _ROWS:
        for _ in range(int(line[1:]) * _ROWS[kind]):
            _skip(answer, answer.readline())
        if kind == b"|":  # attributes stand before the value that they are of
            _skip(answer, answer.readline())
    elif kind in _TEXTS:
        size = int(line[1:]) + 2
        if int(line[1:]) >= 0 and len(answer.read(size)) != size:
            raise _unexpected(b"")
    elif kind not in _LINES:
        raise _unexpected(line)


def _received_more(sock: Any, answer: Any) -> bool:
    """True if bytes that follow the answer have been received with it, or since."""
    seconds = sock.gettimeout()
    sock.settimeout(0.0)
    try:
        return bool(answer.peek(1))
    except OSError:  # nothing to receive, in the words of TLS
        return False
    finally:
        sock.settimeout(seconds)


def _value(answer: Any, buffer: memoryview) -> memoryview | None:
    line = answer.readline()
    if line in (b"$-1\r\n", b"_\r\n"):  # "none" in versions 2 and 3 of the protocol
        return None
    if not line.startswith(b"$"):
        raise _unexpected(line)
    size = int(line[1:])
    value = buffer[:size] if size <= len(buffer) else memoryview(bytearray(size))
    if answer.readinto(value) != len(value) or answer.read(2) != b"\r\n":
        raise _unexpected(b"")
    return value


def _unexpected(line: bytes) -> redis.exceptions.RedisError:
    if line.startswith(b"-"):
        return redis.exceptions.ResponseError(line[1:].decode(errors="replace").strip())
    if not line.endswith(b"\n"):
        return redis.exceptions.ConnectionError("the connection was closed while receiving chunks")
    return redis.exceptions.InvalidResponse(f"Redis answered {line[:40]!r} when asked for chunks")
