"""A reader that is paused keeps what it reads, holds up no other, and gets the newest version when it goes on."""

from __future__ import annotations

import contextlib
import gc
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from serving.loading import shared_server
from serving.loading.messages import (
    Counted,
    GetTotals,
    Message,
    StateMessage,
    Taken,
    VersionMessage,
    decode_to_client,
    receive,
    send,
)
from serving.loading.outbox import Outbox
from serving.loading.shared_server import SnapshotServer
from stream.models.query import Query
from stream.versions import VersionStore
from tests import plain_http
from tests.serving.awaiting import eventually
from tests.serving.conftest import Publisher, RedisServer, until
from tests.serving.loading.test_shared import CLICKS, hang_up, lists, serves, sharing
from tests.serving.process.test_serve import serving
from tests.serving.process.test_supervisor import children

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="shared memory as only Linux has it")


@contextlib.contextmanager
def paused_reader(server: SnapshotServer) -> Iterator[socket.socket]:
    """A connected process that reads nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(server._listening.getsockname())
        until(lambda: len(server._clients) == 2, "both readers are connected")
        yield connection


def taken_until_state(connection: socket.socket) -> list[Message]:
    """Messages up to the next state."""
    found: list[Message] = []
    while not (found and isinstance(found[-1], StateMessage)):
        message, files = receive(connection, decode_to_client)
        found.append(message)
        for file in files:
            os.close(file)
    return found


async def test_a_reader_that_takes_nothing_holds_up_nobody(store: VersionStore, publisher: Publisher):
    """Many more versions than a socket has room for reach the other reader and the loader."""
    first = publisher.learn(*CLICKS[:20])
    async with sharing(store) as (loader, server, client):
        await eventually(serves(client, first.number), "the client serves it")
        with paused_reader(server) as paused:
            for n in range(300):
                newest = publisher.learn((f"u{n % 7}", f"item {n % 11}"))
                if n % 10 == 9:
                    await eventually(serves(client, newest.number), "the other reader follows")
            assert lists(client.served.model) == lists(publisher.shard.model())
            # The first state is the one at the pause. After it comes the newest, and none of those between.
            messages = taken_until_state(paused)
            assert [type(each) for each in messages] == [VersionMessage, StateMessage]
            assert messages[-1].served == first.id
            send(paused, Taken())
            messages = taken_until_state(paused)
            assert messages[-1].served == newest.id
            assert sum(isinstance(each, VersionMessage) for each in messages) <= len(list(loader.in_memory()))


async def test_what_a_paused_reader_may_map_is_kept_until_its_end_is_seen(store: VersionStore, publisher: Publisher):
    """Neither time nor new versions free what was sent, whether it was read or waits in the socket."""
    first = publisher.learn(*CLICKS[:20])
    async with sharing(store) as (loader, server, client):
        await eventually(serves(client, first.number), "the client serves it")
        with paused_reader(server) as paused:
            until(lambda: any(each.leases for each in server._clients.values()), "the version was sent")
            model, expected = weakref.ref(loader.served.model), lists(loader.served.model)
            for n in range(60):
                newest = publisher.learn((f"u{n % 7}", f"item {n % 11}"))
            await eventually(serves(client, newest.number), "the other reader follows")
            gc.collect()
            assert first.id not in {each.version.id for each in loader.in_memory()}
            assert lists(model()) == expected, "no row of it was written anew"
            assert paused.fileno() != -1

        async def freed() -> bool:
            gc.collect()
            return model() is None

        await eventually(freed, "its end was seen")


async def test_a_version_outlives_the_connection_that_it_came_over(store: VersionStore, publisher: Publisher):
    """A reader whose connection failed goes on reading; what it reads is kept although it has a new connection."""
    first = publisher.learn(*CLICKS[:20])
    async with sharing(store) as (_, server, client):
        await eventually(serves(client, first.number), "the client serves it")
        in_flight, link = client.served, client._link
        link.outbox.put(GetTotals(7))  # a reply that nobody waits for; then the reader meets an unforeseen error

        def fail(*_: object) -> None:
            raise ZeroDivisionError

        client._take_state, take_state = fail, client._take_state
        publisher.learn(*CLICKS[20:40])

        async def reconnecting() -> bool:
            return client._link is not link

        await eventually(reconnecting, "the reader has given the connection up")
        client._take_state = take_state
        for start in range(40, 120, 20):
            newest = publisher.learn(*CLICKS[start : start + 20])
        await eventually(serves(client, newest.number), "the reader follows over a new connection")
        with server._lock:
            held = {each.version.id for each_client in server._clients.values() for each in each_client.leases.values()}
        assert first.id in held
        assert lists(in_flight.model) == lists(in_flight.model)
        del in_flight

        async def closed() -> bool:
            gc.collect()
            return link.connection.fileno() == -1

        await eventually(closed, "the old connection is closed with the last version that came over it")


async def test_segments_of_another_loading_process_are_never_taken_for_those_of_the_last(
    store: VersionStore, publisher: Publisher
):
    """Both number their segments from 1. The old version is still mapped while the new process sends its own."""
    publisher.learn(*CLICKS[:60])
    async with sharing(store) as (_, old_server, client):
        await eventually(serves(client, 1), "the client serves it")
        held = client.served
        old_server._listening.shutdown(socket.SHUT_RDWR)
        second = publisher.learn(*CLICKS[60:])
        async with sharing(store) as (_, new_server, _):
            client._name = new_server._listening.getsockname()
            hang_up(old_server)
            await eventually(serves(client, second.number), "the client serves the version of the new process")
            assert lists(client.served.model) == lists(publisher.shard.model())
            assert held.version.number == 1


async def test_a_loading_process_that_is_paused_holds_up_no_request(store: VersionStore, publisher: Publisher):
    """Requests and counts wait in a queue, of which nothing but one thread hears that the socket is full."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        outbox = Outbox(ours, "test")
        for number in range(5000):
            outbox.put(GetTotals(number))
        assert not outbox.is_empty
        for number in range(5000):
            assert receive(theirs, shared_server.decode_to_server)[0].number == number
        outbox.close()


async def test_counts_of_which_none_is_taken_do_not_pile_up(store: VersionStore, publisher: Publisher):
    async with sharing(store) as (_, _, client):

        async def linked() -> bool:
            return client._link is not None

        await eventually(linked, "the client is connected")
        put = []
        client._link.outbox.put, real = put.append, client._link.outbox.put
        client._link.outbox._queue.put((GetTotals(1), (), None))
        client._send_counts()
        client._link.outbox.put = real
        assert all(isinstance(each, Counted) for each in put)
        assert len(put) <= 1


def test_a_process_that_was_stopped_under_load_answers_right_and_goes_on(
    redis_server: RedisServer, publisher: Publisher
):
    """SIGSTOP for one of two processes while versions come and rows are used again; then SIGCONT.

    Connections are opened until both processes have some. Those of the stopped one get no answer until it goes on, from
    a version whose lists are known.
    """
    users = [f"u{n}" for n in range(7)]
    expected: dict[int, dict[str, list]] = {}

    def learn(*clicks: tuple[str, str]) -> int:
        number = publisher.learn(*clicks).number
        model = publisher.shard.model()
        expected[number] = {user: model.recommend(Query(user=user)).items for user in users}
        return number

    def right(answer: dict, user: str) -> bool:
        return [each["item"] for each in answer["items"]] == expected[answer["version"]][user]

    first = learn(*CLICKS[:60])
    with serving(redis_server, None, "--port", "0", "--workers", "2") as (process, address):
        until(lambda: len(children(process.pid)) == 3, "all processes run")
        _, stopped, _other = children(process.pid)

        def served() -> set[int | None]:
            with contextlib.suppress(httpx.TransportError):
                return {plain_http.get(f"{address}/v1/popular").json()["version"] for _ in range(12)}
            return set()

        until(lambda: served() == {first}, "both serve the first version")
        port = int(address.rpartition(":")[2])
        asked = itertools.cycle(users)
        connections: list[socket.socket] = []
        while len(connections) < 40 or not accepted_by(stopped, port):
            assert len(connections) < 1000, "the process that is to be stopped accepts nothing"
            connection = socket.create_connection(("127.0.0.1", port))
            connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
            connection.recv(4096)
            connections.append(connection)
        os.kill(stopped, signal.SIGSTOP)
        waiting = []
        for connection, user in zip(connections, asked, strict=False):
            connection.sendall(f"GET /v1/recommendations/{user} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
            waiting.append((connection, user))
        for n in range(80):  # far more versions than are held in memory: their rows are written anew many times
            newest = learn((f"u{n % 7}", f"item {n % 23}"), (f"u{n % 5}", f"item {n % 19}"), (f"v{n}", "item 1"))
        until(lambda: served() == {newest}, "the other process follows while one is stopped")
        answered, _, _ = select.select(connections, [], [], 0)
        assert len(answered) < len(connections), "some connections are those of the stopped process"
        os.kill(stopped, signal.SIGCONT)
        for connection, user in waiting:
            with connection, connection.makefile("rb") as file:
                head = b"".join(iter(file.readline, b"\r\n"))
                length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                answer = json.loads(file.read(length))
            assert right(answer, user), answer
        until(lambda: served() == {newest}, "it goes on with the newest version")
        for user in users * 4:
            assert right(plain_http.get(f"{address}/v1/recommendations/{user}").json(), user)
        assert stopped in children(process.pid), "it has not died"
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
        assert "exited" not in errors


def accepted_by(process: int, port: int) -> bool:
    """True if a process has connections to a port on which it listens."""
    return any(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port
        for each in psutil.Process(process).net_connections("tcp")
    )


def test_a_child_that_is_paused_is_killed_at_the_end():
    """The first process waits for its children, and a paused one handles no SIGTERM."""
    program = """
import os, signal, sys, time
from serving.process import supervisor
supervisor.KILL_SECONDS = 1
def answer(_):
    print(os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
supervisor.run_processes(1, lambda _: time.sleep(600), answer)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    child = int(process.stdout.readline())

    def is_stopped() -> bool:
        return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    until(is_stopped, "the child is paused")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 0
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
