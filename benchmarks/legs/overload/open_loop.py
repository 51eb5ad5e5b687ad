"""Requests at a fixed pace, whether or not earlier ones were answered: `python -m benchmarks.legs.overload.open_loop`.

The n-th request is due at n divided by the pace, and its latency counts from that moment, not from when it was sent: a
sender that waits for a slow server would leave out the very requests that wait (Gil Tene calls that coordinated
omission). Each request takes a connection on which nothing is outstanding; if there is none it waits for one, and its
latency goes on counting. wrk has no such mode, so this is a loop over epoll with requests that were written beforehand;
it says how late it was itself.

This file decides when requests are sent, and how their answers are counted. What a measurement means is decided in
`benchmarks.legs.overload.shed`.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

AT_ONCE = 4
"""Answers that are taken between two looks at the clock, so that requests don't leave in bursts."""


class Outcome(NamedTuple):
    """Answers of all requests, and their latency.

    Attributes:
        due: requests that were due after the first second.
        statuses: number of answers by HTTP status.
        retry_after: refusals that say when to come again.
        p50_ms, p99_ms: latency of answers of status 200.
        refused_p99_ms: latency of refusals.
        late_p99_ms: time by which the sender was late, wherever a connection was free.
        unanswered: requests that had no answer two seconds after the end.
    """

    due: int
    statuses: dict[str, int]
    retry_after: int
    p50_ms: float
    p99_ms: float
    refused_p99_ms: float
    late_p99_ms: float
    unanswered: int


def send(port: int, pace: float, seconds: float, targets: list[str], connections: int) -> Outcome:
    """Send requests for `seconds`, and wait for their answers.

    Args:
        port: of the server on this machine.
        pace: requests a second.
        seconds: how long; the first second is not counted.
        targets: paths, in turns.
        connections: most requests that are outstanding.
    """
    requests = [f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode() for target in targets]
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    poll = select.epoll()
    by_number = {each.fileno(): each for each in sockets}
    for each in sockets:
        each.setblocking(False)
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(each.fileno(), select.EPOLLIN)
    free = deque(by_number)
    due_at: dict[int, float] = {}
    received: dict[int, bytes] = {}
    waits: deque[float] = deque()
    latencies: dict[str, list[float]] = {}
    late: list[float] = []
    retry_after = counted = 0
    gc.disable()
    started = time.perf_counter()
    total, sent, ends = int(pace * seconds), 0, started + seconds
    while sent < total or due_at or waits:
        now = time.perf_counter()
        while sent < total and started + sent / pace <= now:
            waits.append(started + sent / pace)
            sent += 1
        while waits and free:
            due, number = waits.popleft(), free.popleft()
            by_number[number].send(requests[sent % len(requests)])
            due_at[number] = due
            late.append(time.perf_counter() - due)
        for number, _ in poll.poll(0, AT_ONCE):
            data = received.pop(number, b"") + by_number[number].recv(65536)
            head, found, body = data.partition(b"\r\n\r\n")
            if not data:
                raise ConnectionError("the server closed a connection")
            length = head.find(b"content-length: ")
            if not found or len(body) < int(head[length + 16 :].partition(b"\r\n")[0]):
                received[number] = data
                continue
            due = due_at.pop(number)
            free.append(number)
            if due >= started + 1.0:
                counted += 1
                retry_after += b"\r\nretry-after: " in head
                latencies.setdefault(head[9:12].decode(), []).append(time.perf_counter() - due)
        if now > ends + 2.0:
            break
    for each in sockets:
        each.close()
    lists, refused = latencies.get("200", []), latencies.get("503", [])
    return Outcome(
        due=int(pace * (seconds - 1.0)),
        statuses={status: len(found) for status, found in sorted(latencies.items())},
        retry_after=retry_after,
        p50_ms=percentile(lists, 0.5),
        p99_ms=percentile(lists, 0.99),
        refused_p99_ms=percentile(refused, 0.99),
        late_p99_ms=percentile(late, 0.99),
        unanswered=len(due_at) + len(waits),
    )


def percentile(seconds: list[float], share: float) -> float:
    """A percentile in milliseconds; 0 of an empty list.

    >>> percentile([0.001, 0.002, 0.003], 0.5)
    2.0
    """
    found = sorted(seconds)
    return round(found[min(int(len(found) * share), len(found) - 1)] * 1e3, 3) if found else 0.0


def main() -> None:
    """Send what the arguments say: port, pace, seconds, connections, and a file with a target in each line."""
    port, pace, seconds, connections, file = sys.argv[1:]
    targets = Path(file).read_text(encoding="utf-8").split()
    print(json.dumps(send(int(port), float(pace), float(seconds), targets, int(connections))._asdict()))


if __name__ == "__main__":
    main()
