"""Chunks straight from the connection into memory that is there already.

A client for Redis collects an answer in a buffer of its own and copies it into new objects. For the chunks of a large
state, that is twice as much untouched memory as the state has bytes, and getting it from the system takes longer than
all the rest of reading. So this one command is read by hand: its request is sent by redis-py's connection, which has
been made, authenticated and chosen by redis-py, and what comes back is received where it is wanted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis.exceptions


def receive(client: Any, names: Sequence[str], rooms: Sequence[memoryview]) -> list[memoryview | None]:
    """The values of these keys, each in its room, a larger one in memory of its own; None for a key that is not there.

    Args:
        client: of redis-py.
        names: keys of strings.
        rooms: for each key.

    Raises:
        redis.exceptions.RedisError: the connection broke, timed out, or said something else.
    """
    connection = client.connection_pool.get_connection()
    try:
        connection.send_command("MGET", *names)
        with connection._sock.makefile("rb") as answer:
            if (line := answer.readline()) != b"*%d\r\n" % len(names):
                raise _unexpected(line)
            return [_value(answer, room) for room in rooms]
    except BaseException as error:
        connection.disconnect()  # what it would say next belongs to nobody
        if isinstance(error, TimeoutError):
            raise redis.exceptions.TimeoutError("timeout while receiving chunks") from error
        if isinstance(error, OSError):
            raise redis.exceptions.ConnectionError(f"the connection broke while receiving chunks: {error}") from error
        raise
    finally:
        client.connection_pool.release(connection)


def _value(answer: Any, room: memoryview) -> memoryview | None:
    line = answer.readline()
    if line in (b"$-1\r\n", b"_\r\n"):  # as the second and the third version of the protocol say it
        return None
    if not line.startswith(b"$"):
        raise _unexpected(line)
    size = int(line[1:])
    value = room[:size] if size <= len(room) else memoryview(bytearray(size))
    if answer.readinto(value) != len(value) or answer.read(2) != b"\r\n":
        raise _unexpected(b"")
    return value


def _unexpected(line: bytes) -> redis.exceptions.RedisError:
    if line.startswith(b"-"):
        return redis.exceptions.ResponseError(line[1:].decode(errors="replace").strip())
    if not line.endswith(b"\n"):
        return redis.exceptions.ConnectionError("the connection was closed while receiving chunks")
    return redis.exceptions.InvalidResponse(f"Redis answered {line[:40]!r} when asked for chunks")
