"""Several processes on one port: equal answers, a rollback for all, counts of all, and a restart of each that fails."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests import plain_http
from tests.serving.conftest import Publisher, RedisServer, until
from tests.serving.process.test_serve import serving

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="shared memory as only Linux has it")
COUNT = 2


def children(process: int) -> list[int]:
    """Children of a server's first process: the one that loads, then those that answer."""
    return [int(each) for each in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def has_ended(process: int) -> bool:
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


class Segment(NamedTuple):
    """A shared segment as one process has it mapped, in bytes."""

    resident: int
    proportional: int
    """Each page divided by the number of processes that have it."""
    private: int
    """Pages that no other process has."""


def memory_of_segments(process: int) -> dict[str, Segment]:
    """Memory of the segments that a process has mapped, by inode, messages left out."""
    found: dict[str, list[Segment]] = {}
    mapping = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ (\d+) +(.*)$")
    inode = None
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{process}/smaps").read_text().splitlines():
        if head := mapping.match(line):
            named = re.match(r"/memfd:corrente-(?!message)", head[2])
            inode, sizes = (head[1] if named else None), {}
        elif inode is not None:
            name, _, value = line.partition(":")
            sizes[name] = 1024 * int(value.split()[0]) if value.strip().endswith("kB") else 0
            if name == "VmFlags":  # the last line of a mapping
                private = sizes["Private_Clean"] + sizes["Private_Dirty"]
                found.setdefault(inode, []).append(Segment(sizes["Rss"], sizes["Pss"], private))
    return {each: Segment(*map(sum, zip(*parts, strict=True))) for each, parts in found.items()}


def allocated_bytes(process: int) -> int:
    """Memory that the segments take which a process has open."""
    files = [each for each in Path(f"/proc/{process}/fd").iterdir() if "memfd:corrente-" in str(each.readlink())]
    return sum(512 * each.stat().st_blocks for each in files)


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
            until(lambda: all(map(has_ended, started)), "no process is left")


def versions(address: str, tries: int = 12) -> set[int | None]:
    """Numbers of the versions that answer, over new connections, each of which any process may accept."""
    try:
        return {plain_http.get(f"{address}/v1/recommendations/u").json()["version"] for _ in range(tries)}
    except httpx.TransportError:
        return set()


def test_new_versions_and_rollbacks_reach_every_process(server: tuple[int, str], publisher: Publisher):
    _, address = server
    first = plain_http.get(f"{address}/v1/recommendations/v").json()
    for number in range(2, 6):
        publisher.learn(("v", f"new-{number}"), ("u", f"new-{number}"))
        until(lambda number=number: versions(address) == {number}, "every process answers from the newest")
    assert plain_http.post(f"{address}/v1/versions/1/rollback", json={"why": "test"}).status_code == 200
    until(lambda: versions(address) == {1}, "every process was rolled back")
    again = plain_http.get(f"{address}/v1/recommendations/v").json()
    assert again["items"] == first["items"]
    asked = plain_http.get(f"{address}/v1/recommendations/v", params={"version": "3"}).json()
    assert asked["version"] == 3
    assert plain_http.get(f"{address}/v1/recommendations/v", params={"version": "99"}).status_code == 404


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
    assert {"items", "visitors", "history"} <= set(tables)


def test_pages_of_the_model_are_in_memory_once_however_many_processes_answer(server: tuple[int, str]):
    process, _ = server
    loading, *answering = children(process)

    def mapped_by_all() -> bool:
        return all(memory_of_segments(each) for each in answering)

    until(mapped_by_all, "every process has mapped the version")
    made = memory_of_segments(loading)
    assert made, "the loading process has the version in segments"
    for each in answering:
        theirs = memory_of_segments(each)
        assert set(theirs) <= set(made), "a process maps only what the loading process has made"
        assert set(theirs) == set(memory_of_segments(answering[0])), "and all of them map the same"
        assert sum(segment.private for segment in theirs.values()) == 0, "no page is a process's own copy"
        assert sum(segment.resident for segment in theirs.values()) > 0, "and it has read from them"
    # A page counts with one n-th in each of the n processes that have it: all of them together are what the segments
    # take, and no more.
    everywhere = [memory_of_segments(each) for each in (loading, *answering)]
    counted_once = sum(segment.proportional for found in everywhere for segment in found.values())
    assert counted_once <= allocated_bytes(loading)


def test_a_process_that_is_killed_is_restarted(server: tuple[int, str], publisher: Publisher):
    process, address = server
    for place in range(1 + COUNT):
        before = children(process)
        os.kill(before[place % len(before)], signal.SIGKILL)
        until(lambda before=before: len(set(children(process)) - set(before)) == 1, "another was started")
    publisher.learn(("u", "later"))
    until(lambda: versions(address) == {2}, "all of them follow")
    health = plain_http.get(f"{address}/health/ready").json()
    assert health["problem"] is None
    assert health["redis"]["up"]


def test_metrics_are_sums_over_all_processes(server: tuple[int, str]):
    _, address = server

    def counted() -> float:
        lines = plain_http.get(f"{address}/metrics").text.splitlines()
        wanted = 'corrente_http_requests_total{method="GET",route="/v1/popular",status="200"} '
        return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))

    for more, asked in (
        (20, 20),
        (1, 21),
    ):  # a process that counted twice would have sent its counts by the second time
        for _ in range(more):
            assert plain_http.get(f"{address}/v1/popular").status_code == 200
        until(lambda asked=asked: counted() == asked, "every request is counted once")


def test_children_end_with_the_first_process(redis_server: RedisServer, publisher: Publisher):
    publisher.learn(("u", "a"))
    with serving(redis_server, None, "--port", "0", "--workers", str(COUNT)) as (process, address):
        until(lambda: versions(address) == {1}, "it answers")
        started = children(process.pid)
        process.kill()
        until(lambda: all(map(has_ended, started)), "they have gone too")


def test_a_signal_that_comes_while_a_process_is_started_reaches_it_too():
    """Without this the first process waits for a child that nobody has told, until it kills it after 25 s."""
    program = """
import os, signal, time
from serving.process import supervisor
supervisor.KILL_SECONDS = 600
fork = os.fork
def fork_under_a_signal():
    parent = os.getpid()
    child = fork()
    if child == 0:
        os.kill(parent, signal.SIGTERM)
    else:
        while signal.SIGTERM not in signal.sigpending():
            time.sleep(.01)
    return child
os.fork = fork_under_a_signal
supervisor.run_processes(2, lambda _: time.sleep(600), lambda _: time.sleep(600))
"""
    ended = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert ended.returncode == 0
