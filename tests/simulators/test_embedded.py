"""The embedded broker and Redis: real enough for real clients, and gone afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from simulators.children import Child, ChildEnded
from simulators.embedded import PathTooLong, embedded_kafka, embedded_redis


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket() as client:
        return client.connect_ex((host, int(port))) == 0


def redis_answers(url: str) -> bool:
    with redis.Redis.from_url(url) as client:
        try:
            return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False


async def test_records_go_through_the_broker_in_order_and_a_group_remembers_its_place() -> None:
    with embedded_kafka(["clicks", "purchases"], partitions=2) as address:
        producer = AIOKafkaProducer(bootstrap_servers=address)
        await producer.start()
        for number in range(100):
            await producer.send_and_wait("clicks", b"%d" % number, key=b"ada", partition=1)
        await producer.stop()

        seen = []
        for part in (40, 60):
            consumer = AIOKafkaConsumer(
                "clicks",
                bootstrap_servers=address,
                group_id="g",
                auto_offset_reset="earliest",
                enable_auto_commit=False,
                session_timeout_ms=1000,  # the broker waits so long for the member that left
                heartbeat_interval_ms=300,
            )
            await consumer.start()
            assert consumer.partitions_for_topic("clicks") == {0, 1}
            seen += [int((await consumer.getone()).value or b"") for _ in range(part)]
            await consumer.commit({TopicPartition("clicks", 1): len(seen)})
            await consumer.stop()
        assert seen == list(range(100))
    assert not answers(address)


def test_redis_answers_and_is_gone_afterwards(tmp_path: Path) -> None:
    with embedded_redis(tmp_path) as (url, process):
        process.check()
        assert eventually(lambda: redis_answers(url))
        with redis.Redis.from_url(url) as client:
            client.set("a", "b")
            assert client.get("a") == b"b"
            assert int(client.info()["redis_version"].split(".")[0]) >= 6
            pid = int(client.info()["process_id"])
    assert not is_running(pid)


def test_a_folder_whose_path_is_too_long_for_a_socket_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    with pytest.raises(PathTooLong, match="set TMPDIR to a shorter folder"), embedded_redis(folder):
        pass


def test_a_child_that_ends_by_itself_is_reported_with_its_last_lines(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('the last words'); raise SystemExit(3)"]
    child = Child("reader", command, os.environ, tmp_path / "log")

    assert eventually(lambda: not is_running(child.pid))
    with pytest.raises(ChildEnded, match=r"(?s)the reader ended by itself with code 3.*the last words"):
        child.check()
    child.stop()


def test_a_child_that_does_not_listen_is_ended_all_the_same(tmp_path: Path) -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    child = Child("deaf", [sys.executable, "-c", deaf], os.environ, tmp_path / "log")
    assert eventually(lambda: "deaf" in child.log.read_text())
    child.stop(patience_seconds=0.1)
    assert not is_running(child.pid)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux's kernel ends the children of a killed parent")
def test_children_go_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import os, sys, time, pathlib\n"
        "from simulators.children import Child\n"
        f"child = Child('sleeper', ['sleep', '600'], os.environ, pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert eventually(lambda: "sleep" in Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0])
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert eventually(lambda: not is_running(pid))
