"""MGET into existing memory: chunks get from the connection straight to where they are wanted.

A Redis client collects an answer in a buffer of its own and copies it into new objects. For the chunks of a large
state, that is twice as much fresh memory as the state has bytes, and getting it from the system takes longer than all
the rest of reading. So this one command is read by hand: its request is sent by redis-py's connection, which redis-py
has made, authenticated and chosen, and the answer is received into the caller's memory. This relies on the connection's
private `_sock`; `tests/stream/versions/storage` notices if a release of redis-py changes it.

This file decides how an answer to MGET is read, and what is an error in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis.exceptions


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
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("MGET", *names)
        with connection._sock.makefile("rb") as answer:  # noqa: SLF001  # redis-py offers no socket in public
            if (line := answer.readline()) != b"*%d\r\n" % len(names):
                raise _unexpected(line)
            return [_value(answer, buffer) for buffer in buffers]
    except BaseException as error:
        connection.disconnect()  # the rest of its answer would be taken for the answer to the next command
        if isinstance(error, TimeoutError):
            raise redis.exceptions.TimeoutError("timeout while receiving chunks") from error
        if isinstance(error, OSError):
            raise redis.exceptions.ConnectionError(f"the connection broke while receiving chunks: {error}") from error
        raise
    finally:
        client.connection_pool.release(connection)


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
