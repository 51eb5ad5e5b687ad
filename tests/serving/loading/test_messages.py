"""Messages and errors cross a socket as they are, open files with them, and none is left open."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import redis.exceptions

from serving.loading.messages import (
    ERRORS,
    MAX_FILES,
    CatchUp,
    Counted,
    Done,
    Failed,
    GetTotals,
    GetVersion,
    Released,
    SendAgain,
    StateMessage,
    Taken,
    VersionMessage,
    decode_to_client,
    decode_to_server,
    error_name,
    receive,
    restored_error,
    send,
)
from stream.state.tables import CorruptDelta
from stream.versions import StoppedShard, UnknownVersion, VersionError

TO_CLIENT = [
    VersionMessage(9, '{"number": 1}', {"items": 64, "sums": 3}, [(1, 4096), (2, 1)]),
    StateMessage("id", ["id", "older"], True, "no such key", 12.5, False, 3.25, "ConnectionError: ü"),
    StateMessage(None, [], False, None, None, True, None, ""),
    StateMessage(None, [], True, None, None, True, None, "", (StoppedShard(0, 1.5, "kafka", "away", "…", "one", []),)),
    Done(7),
    Done(7, version_id="id", samples=[["seen_total", [["topic", "a"]], 2.0]]),
    Failed(8, "UnknownVersion", "there is no version 99"),
]
TO_SERVER = [
    Taken(),
    Released(9),
    SendAgain("id"),
    Counted(4711, [["seen_total", [], 1.0]]),
    GetTotals(1),
    CatchUp(2),
    GetVersion(3, "before-sale"),
]


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        yield one, other


def open_files() -> int:
    gc.collect()  # files of tests before this one must not be closed between two counts
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("message", TO_CLIENT + TO_SERVER, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(pair, message):
    decode = decode_to_client if message in TO_CLIENT else decode_to_server
    before = open_files()
    send(pair[0], message)
    assert receive(pair[1], decode) == (message, [])
    assert open_files() == before


def test_every_kind_of_message_is_tested():
    tags = {each["title"] for decode in (decode_to_client, decode_to_server) for each in _kinds(decode)}
    assert tags == {type(message).__name__ for message in TO_CLIENT + TO_SERVER}


def _kinds(decode) -> list[dict]:
    decoder = decode.__self__
    _, components = msgspec.json.schema_components([decoder.type])
    return [each for each in components.values() if "type" in each["properties"]]  # the others are parts of these


def test_messages_arrive_whole_and_in_order_whatever_their_length(pair):
    names = ["a", "b" * 1_000_000, "c"]  # a datagram alone would hold some hundred kilobytes
    for number, name in enumerate(names):
        send(pair[0], GetVersion(number, name))
    assert [receive(pair[1], decode_to_server)[0].name for _ in names] == names


def test_files_arrive_open_and_in_order(pair):
    sent = [os.memfd_create(f"test-{number}") for number in range(MAX_FILES)]
    for number, file in enumerate(sent):
        os.write(file, str(number).encode())
    send(pair[0], Done(1), sent)
    _, received = receive(pair[1], decode_to_client)
    assert [os.pread(file, 10, 0) for file in received] == [str(number).encode() for number in range(MAX_FILES)]
    for file in sent + received:
        os.close(file)


def test_a_message_that_cannot_be_decoded_leaves_no_file_open(pair):
    sent = os.memfd_create("test")
    before = open_files()
    send(pair[0], GetTotals(1), [sent, sent])
    with pytest.raises(msgspec.ValidationError):
        receive(pair[1], decode_to_client)
    assert open_files() == before
    os.close(sent)


def test_the_end_of_the_other_side_is_none(pair):
    pair[0].close()
    assert receive(pair[1], decode_to_client) is None


@pytest.mark.parametrize("kind", ERRORS.values(), ids=ERRORS.keys())
def test_an_error_keeps_its_class_and_text(pair, kind):
    error = kind("the text of the error")
    send(pair[0], Failed(1, error_name(error), str(error)))
    failed, _ = receive(pair[1], decode_to_client)
    restored = restored_error(failed)
    assert type(restored) is kind
    assert str(restored) == "the text of the error"


def test_every_error_of_the_store_has_its_own_name():
    def tree(root):
        return {root, *(each for child in root.__subclasses__() for each in tree(child))}

    assert tree(VersionError) | {CorruptDelta, redis.exceptions.RedisError} <= set(ERRORS.values())
    assert UnknownVersion in ERRORS.values()


@pytest.mark.parametrize(
    ("error", "restored"),
    [
        (redis.exceptions.AuthenticationError("no password"), redis.exceptions.ConnectionError),
        (redis.exceptions.ReadOnlyError("a replica"), redis.exceptions.ResponseError),
        (redis.exceptions.LockError("locked"), redis.exceptions.RedisError),
        (ZeroDivisionError("a bug"), RuntimeError),
    ],
)
def test_an_error_without_a_name_becomes_its_nearest_base_class(error, restored):
    failed = Failed(1, error_name(error), str(error))
    assert type(restored_error(failed)) is restored
    assert str(restored_error(failed)) == str(error)
