"""Messages between the process that loads versions and those that answer, over a Unix socket.

A message is a datagram (`SOCK_SEQPACKET`) of eight bytes, the length of its text, with open files attached: first an
anonymous file with the message as JSON, then the segments of a version. The text travels in a file because
datagrams are short. Both sides run the same release: they are forks of one process.

This file decides which messages there are, how they are encoded, and how an error crosses from one process to the
other.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
from redis.exceptions import BusyLoadingError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from stream.state.tables import CorruptDelta
from stream.versions import StoppedShard, VersionError

T = TypeVar("T")

MAX_FILES = 250
"""Most files of one message; Linux allows 253."""

_LENGTH = struct.Struct("<q")


# ---- from the loading process


class VersionMessage(msgspec.Struct, tag="version", frozen=True):
    """A complete version: its manifest, and the segments of its rows, indexes and hints.

    The files of the segments are attached in the order of `segments`: rows and index of each table in the order of
    `tables`, then the cells of each hint in the order of `Model.HINTED`.
    """

    lease: int
    """Number of this sending. The loading process keeps the version's rows as they are until it is released."""
    manifest: str
    tables: dict[str, int]
    """Length of the index by table name."""
    segments: list[tuple[int, int]]
    """Number and bytes of each segment. A receiver that has mapped a number before doesn't map it again."""


class StateMessage(msgspec.Struct, tag="state", frozen=True):
    """All other state of the loader that requests see. Sent after the versions that it names."""

    served: str | None
    """Id of the version that answers."""
    resident: list[str]
    """Ids of all versions in memory. A receiver releases all others."""
    ready: bool
    problem: str | None
    problem_since: float | None
    redis_up: bool
    redis_since: float | None
    redis_reason: str
    stopped: tuple[StoppedShard, ...] = ()
    """Shards that are not learned at present."""


class Done(msgspec.Struct, tag="done", frozen=True):
    """Answer to the request of this number, with whatever the request is about."""

    number: int
    version_id: str | None = None
    samples: list[Any] | None = None


class Failed(msgspec.Struct, tag="failed", frozen=True):
    """Error that the request of this number met; see `error_name` and `restored_error`."""

    number: int
    error: str
    text: str


ToClient = VersionMessage | StateMessage | Done | Failed


# ---- from a process that answers


class Taken(msgspec.Struct, tag="taken", frozen=True):
    """The sender has taken the last `StateMessage`, and everything before it. The next one may be sent."""


class Released(msgspec.Struct, tag="released", frozen=True):
    """No request of the sender reads any more what was sent under this lease."""

    lease: int


class SendAgain(msgspec.Struct, tag="send again", frozen=True):
    """The sender doesn't have this version any more, and needs it."""

    version_id: str


class Counted(msgspec.Struct, tag="counted", frozen=True):
    """Samples of everything that a process has counted since it began."""

    process: int
    samples: list[Any]


class GetTotals(msgspec.Struct, tag="get totals", frozen=True):
    """Request for the sums over all processes."""

    number: int


class CatchUp(msgspec.Struct, tag="catch up", frozen=True):
    """Request to load and serve the version that the store names now."""

    number: int


class GetVersion(msgspec.Struct, tag="get version", frozen=True):
    """Request for a version by number, alias or id."""

    number: int
    name: str


ToServer = Taken | Released | SendAgain | Counted | GetTotals | CatchUp | GetVersion

Message = ToClient | ToServer

decode_to_client: Callable[[bytes], ToClient] = msgspec.json.Decoder(ToClient).decode
decode_to_server: Callable[[bytes], ToServer] = msgspec.json.Decoder(ToServer).decode


def send(connection: socket.socket, message: Message, files: Sequence[int] = ()) -> None:
    """Send one message and open files. Raises `OSError` if the other side is gone or doesn't read."""
    text = msgspec.json.encode(message)
    document = os.memfd_create("corrente-message", os.MFD_CLOEXEC)
    try:
        os.write(document, text)
        socket.send_fds(connection, [_LENGTH.pack(len(text))], [document, *files])
    finally:
        os.close(document)


def receive(connection: socket.socket, decode: Callable[[bytes], T]) -> tuple[T, list[int]] | None:
    """The next message with its files, which the caller closes; None if the other side is gone.

    Args:
        connection: to read from.
        decode: `decode_to_client` or `decode_to_server`.
    """
    head, files, _, _ = socket.recv_fds(connection, _LENGTH.size, MAX_FILES + 1)
    if len(head) < _LENGTH.size:
        return None
    document, *others = files
    try:
        (size,) = _LENGTH.unpack(head)
        return decode(os.pread(document, size, 0)), others
    except BaseException:
        for file in others:
            os.close(file)
        raise
    finally:
        os.close(document)


# ---- errors


def _with_subclasses(root: type[Exception]) -> Iterator[type[Exception]]:
    yield root
    for each in root.__subclasses__():
        yield from _with_subclasses(each)


ERRORS: dict[str, type[Exception]] = {
    each.__name__: each
    for each in (
        *_with_subclasses(VersionError),
        CorruptDelta,
        RedisError,
        RedisConnectionError,
        RedisTimeoutError,
        BusyLoadingError,
        ResponseError,
    )
}
"""Errors that keep their class from one process to the other, by name. Each is made of its text alone."""


def error_name(error: BaseException) -> str:
    """The name in `ERRORS` of an error's class, or of its nearest base class there; empty if there is none.

    >>> from redis.exceptions import AuthenticationError
    >>> error_name(AuthenticationError("wrong password")), error_name(KeyError("x"))
    ('ConnectionError', '')
    """
    return next((each.__name__ for each in type(error).__mro__ if ERRORS.get(each.__name__) is each), "")


def restored_error(failed: Failed) -> Exception:
    """The error that the other process met; a `RuntimeError` with its text if its class doesn't cross."""
    return ERRORS.get(failed.error, RuntimeError)(failed.text)
