"""Paces of several workers that learn at the same time, of which one runs while the others are stopped.

A machine is a third faster in one minute than in the next. Workers that are measured one after another differ by that
much, whatever they do. Here each runs for about a second in turn (SIGSTOP and SIGCONT), so that all of them meet the
same minutes.

This file decides the slices, and which of them count.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.harness.processes import cpu_seconds, learned, metrics

SLICE_SECONDS = 1.2
SETTLE_SECONDS = 0.15
"""Seconds after a worker goes on, before its slice is measured: fetches that were under way arrive."""


class Slice(NamedTuple):
    """One slice of one worker.

    Attributes:
        before, after: events that were learned at its beginning and at its end.
        seconds: its length.
        cpu: CPU seconds of the worker in it.
    """

    before: int
    after: int
    seconds: float
    cpu: float


class InTurn(NamedTuple):
    """Figures of one worker: events a second while it ran, and a CPU second."""

    events_per_second: float
    events_per_cpu_second: float


def run_in_turn(
    workers: Mapping[str, tuple[subprocess.Popen[bytes], int]], events: int, begin: Callable[[], object]
) -> dict[str, InTurn]:
    """The paces of workers, by their names, until the first of them has learned all events.

    Args:
        workers: process and port of the metrics of each.
        events: that each of them will learn.
        begin: lets all of them begin to learn. It is called when all are stopped.

    Raises:
        RuntimeError: a worker had no slice between a third of the events and the last one.
    """
    slices: dict[str, list[Slice]] = {name: [] for name in workers}
    for process, _ in workers.values():
        os.kill(process.pid, signal.SIGSTOP)
    try:
        begin()
        while all(not each or each[-1].after < events for each in slices.values()):
            for name, (process, port) in workers.items():
                slices[name].append(_slice(process, port))
    finally:
        for process, _ in workers.values():
            os.kill(process.pid, signal.SIGCONT)  # a stopped process doesn't end
    return {name: pace_of(each, events) for name, each in slices.items()}


def pace_of(slices: Sequence[Slice], events: int) -> InTurn:
    """The pace over the slices that count: tables are small and histories short before, and nothing is left behind.

    >>> pace_of([Slice(0, 90, 1.0, 1.0), Slice(100, 200, 1.0, 2.0), Slice(200, 350, 1.5, 3.0)], 300)
    InTurn(events_per_second=100.0, events_per_cpu_second=50.0)
    """
    full = [each for each in slices if events / 3 <= each.before and each.after < events]
    if not full:
        raise RuntimeError(f"two thirds of {events} events were learned within one slice; use more --events")
    count = sum(each.after - each.before for each in full)
    return InTurn(count / sum(each.seconds for each in full), count / sum(each.cpu for each in full))


def ratio(runs: Sequence[Mapping[str, InTurn]], name: str, other: str, figure: str) -> float:
    """Median over the runs of a worker's figure by that of another one in the same run."""
    return round(statistics.median(getattr(run[name], figure) / getattr(run[other], figure) for run in runs), 3)


def _slice(process: subprocess.Popen[bytes], port: int) -> Slice:
    os.kill(process.pid, signal.SIGCONT)
    time.sleep(SETTLE_SECONDS)
    before, cpu, started = learned(metrics(port)), cpu_seconds(process.pid), time.monotonic()
    time.sleep(SLICE_SECONDS)
    after, used, ended = learned(metrics(port)), cpu_seconds(process.pid) - cpu, time.monotonic()
    os.kill(process.pid, signal.SIGSTOP)
    return Slice(before, after, ended - started, used)
