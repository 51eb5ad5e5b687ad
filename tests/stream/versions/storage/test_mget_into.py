"""MGET fills the given buffers, or the error says what happened and the client can be used again."""

from __future__ import annotations

import socket

import pytest
import redis

from stream.versions.storage.mget_into import mget_into
from tests.tcp_proxy import TcpProxy

LARGE = 1 << 20


def buffers(*sizes):
    return [memoryview(bytearray(size)) for size in sizes]


def test_values_come_in_order_each_in_its_buffer(shared_redis):
    values = {"one": bytes(range(256)) * 4000, "none": b"", "two": b"$3\r\nabc\r\n"}
    with shared_redis.client() as client:
        client.flushdb()
        client.mset(values)
        given = buffers(LARGE, 0, 0, 3)
        received = mget_into(client, ["one", "missing", "none", "two"], given)
        assert received == [values["one"], None, b"", values["two"]]
        assert given[0][: len(values["one"])] == values["one"]
        assert client.get("two") == values["two"], "nothing is left over from before"


def test_version_3_of_the_protocol_has_another_none(shared_redis):
    with redis.Redis.from_url(f"{shared_redis.url}?protocol=3") as client:
        client.flushdb()
        client.set("one", b"1")
        assert mget_into(client, ["missing", "one"], buffers(9, 9)) == [None, b"1"]


def test_the_private_socket_of_redis_py_is_where_it_was(shared_redis):
    with shared_redis.client() as client:
        connection = client.connection_pool.get_connection()
        connection.connect()
        assert isinstance(getattr(connection, "_sock", None), socket.socket), (
            f"a connection of redis-py {redis.__version__} has no socket `_sock`; look at "
            "stream/versions/storage/mget_into.py, and in redis-py at redis.connection"
        )
        client.connection_pool.release(connection)


PUSH = b">4\r\n$6\r\nMOVING\r\n:7\r\n*2\r\n+a\r\n%1\r\n$1\r\nb\r\n_\r\n$4\r\nx\r\ny\r\n"


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (b"*1\r\n$2\r\nab\r\n", True),
        (PUSH + b"*1\r\n$2\r\nab\r\n", False),
        (PUSH + PUSH + b"*1\r\n$2\r\nab\r\n", False),
        (b"*1\r\n$2\r\nab\r\n" + PUSH, False),
        (b"*1\r\n$2\r\nab\r\n" + PUSH[:9], False),
    ],
    ids=["none", "before", "two", "after", "part"],
)
def test_pushes_around_the_answer_are_no_part_of_it(shared_redis, answer, kept):
    between = Answering(shared_redis.port, answer, hangs_up=False)
    with redis.Redis(port=between.port, socket_timeout=5, protocol=3) as client:
        client.set("one", b"1")
        assert mget_into(client, ["one"], buffers(5)) == [b"ab"]
        assert client.get("one") == b"1"
    assert between.connections == (1 if kept else 2), "a connection with a push is not used again"
    between.close()


class Answering(TcpProxy):
    """Forwards to Redis, but answers MGET itself, and then hangs up or stays silent."""

    def __init__(self, redis_port: int, answer: bytes, *, hangs_up: bool) -> None:
        self.answer, self.hangs_up = answer, hangs_up
        self.connections = 0
        super().__init__(redis_port)

    def serve(self, client: socket.socket, server: socket.socket) -> None:
        self.connections += 1
        while request := client.recv(1 << 20):
            if b"MGET" in request:
                client.sendall(self.answer)
                if self.hangs_up:
                    return
            else:
                server.sendall(request)
                client.sendall(server.recv(1 << 20))


@pytest.mark.parametrize(
    ("answer", "hangs_up", "expected"),
    [
        (b"-LOADING Redis is loading\r\n", False, redis.exceptions.ResponseError),
        (b"+OK\r\n", False, redis.exceptions.InvalidResponse),
        (b"*1\r\n:9\r\n", False, redis.exceptions.InvalidResponse),
        (b"", True, redis.exceptions.ConnectionError),
        (b"*1\r\n$5\r\nab", True, redis.exceptions.ConnectionError),
        (b"*1\r\n$5\r\nab", False, redis.exceptions.TimeoutError),
    ],
)
def test_any_other_answer_is_an_error_after_which_the_client_goes_on(shared_redis, answer, hangs_up, expected):
    between = Answering(shared_redis.port, answer, hangs_up=hangs_up)
    with redis.Redis(port=between.port, socket_timeout=0.5) as client:
        client.set("one", b"1")
        with pytest.raises(expected):
            mget_into(client, ["one"], buffers(5))
        assert client.get("one") == b"1"
    between.close()
