"""Several processes on one port: the same answers, a rollback for all, counts of all, and no process that is missed."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.serving.conftest import Publisher, RedisServer, until
from tests.serving.process.test_serve import serving

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="shared memory as only Linux has it")
COUNT = 2


def children(process: int) -> list[int]:
    """Processes of a server: first the one that loads, then those that answer."""
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def gone(process: int) -> bool:
    try:
        return "Z" in Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True


def segments(process: int) -> set[tuple[int, str]]:
    """Inode and name of every segment of shared memory that a process has mapped, messages left out."""
    found = re.findall(r" (\d+) +/memfd:corrente-(?!message)(\w+)", Path(f"/proc/{process}/maps").read_text())
    return {(int(inode), name) for inode, name in found}


def rows(mapped: set[tuple[int, str]]) -> set[tuple[int, str]]:
    """The segments that hold the rows of a table."""
    return {(inode, name) for inode, name in mapped if name not in {"index", "hints"}}


@pytest.fixture
def server(redis_server: RedisServer, publisher: Publisher) -> Iterator[tuple[int, str]]:
    publisher.learn(("u", "a"), ("u", "b"), ("v", "b"), ("v", "c"))
    with serving(redis_server, None, "--port", "0", "--workers", str(COUNT)) as (process, address):
        until(lambda: len(children(process.pid)) == 1 + COUNT, "all processes run")
        until(lambda: versions(address) == {1}, "every process answers from the version")
        try:
            yield process.pid, address
        finally:
            started = children(process.pid)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
            until(lambda: all(map(gone, started)), "no process is left")


def versions(address: str, tries: int = 12) -> set[int | None]:
    """Numbers of the versions that answer, over new connections, which any process may take."""
    try:
        return {httpx.get(f"{address}/v1/recommendations/u").json()["version"] for _ in range(tries)}
    except httpx.TransportError:
        return set()


def test_new_versions_and_rollbacks_reach_every_process(server: tuple[int, str], publisher: Publisher):
    _, address = server
    first = httpx.get(f"{address}/v1/recommendations/v").json()
    for number in range(2, 6):
        publisher.learn(("v", f"new-{number}"), ("u", f"new-{number}"))
        until(lambda number=number: versions(address) == {number}, "every process answers from the newest")
    assert httpx.post(f"{address}/v1/versions/1/rollback", json={"why": "test"}).status_code == 200
    until(lambda: versions(address) == {1}, "every process was rolled back")
    again = httpx.get(f"{address}/v1/recommendations/v").json()
    assert again["items"] == first["items"]
    asked = httpx.get(f"{address}/v1/recommendations/v", params={"version": "3"}).json()
    assert asked["version"] == 3
    assert httpx.get(f"{address}/v1/recommendations/v", params={"version": "99"}).status_code == 404


def test_the_rows_are_there_once(server: tuple[int, str]):
    """Each table has one segment, which every process maps; indexes and hints are those of the loading process."""
    process, _ = server
    loading, *answering = children(process)
    assert len(answering) == COUNT
    until(lambda: rows(segments(answering[0])), "the model is mapped")
    until(
        lambda: all(segments(each) == segments(answering[0]) for each in answering),
        "all answering processes map the same segments",
        30.0,
    )
    assert segments(answering[0]) <= segments(loading)
    assert rows(segments(answering[0])) == rows(segments(loading))
    tables = [name for _, name in rows(segments(loading))]
    assert sorted(set(tables)) == sorted(tables)
    assert {"items", "visitors", "event_ids"} <= set(tables)


def test_any_process_may_be_killed(server: tuple[int, str], publisher: Publisher):
    process, address = server
    for place in range(1 + COUNT):
        before = children(process)
        os.kill(before[place % len(before)], signal.SIGKILL)
        until(lambda before=before: len(set(children(process)) - set(before)) == 1, "another was started")
    publisher.learn(("u", "later"))
    until(lambda: versions(address) == {2}, "all of them follow")
    health = httpx.get(f"{address}/health/ready").json()
    assert health["problem"] is None
    assert health["redis"]["up"]


def test_counts_are_of_all_processes(server: tuple[int, str]):
    _, address = server

    def counted() -> float:
        lines = httpx.get(f"{address}/metrics").text.splitlines()
        wanted = 'corrente_http_requests_total{method="GET",route="/v1/popular",status="200"} '
        return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    for more, asked in ((20, 20), (1, 21)):  # whoever counts twice has told by the second time
        for _ in range(more):
            assert httpx.get(f"{address}/v1/popular").status_code == 200
        until(lambda asked=asked: counted() == asked, "every request is counted once")


def test_the_others_end_with_the_first(redis_server: RedisServer, publisher: Publisher):
    publisher.learn(("u", "a"))
    with serving(redis_server, None, "--port", "0", "--workers", str(COUNT)) as (process, address):
        until(lambda: versions(address) == {1}, "it answers")
        started = children(process.pid)
        process.kill()
        until(lambda: all(map(gone, started)), "they have gone too")
