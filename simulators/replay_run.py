"""One `corrente replay` from its first reading of the file to its summary.

This file decides the order of the steps (reading, sending, checking) and what is shown of them on standard error.
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from simulators.client import Client
from simulators.replay import COUNTERS, MAX_PROBLEMS, Plan, Report, Sender, Span, counters, replay, wait_until_learned
from simulators.senders import http_sender, kafka_sender
from stream.ingest.files.mapped import UNMAPPED_ELEMENTS
from stream.ingest.mapping.plan import EMPTY_LIST, UNMAPPED
from stream.settings import Settings

_LEFT_OUT = {
    UNMAPPED: "records that no rule of the mapping fits",
    EMPTY_LIST: "records whose list is empty",
    UNMAPPED_ELEMENTS: "elements of lists whose kind the mapping doesn't name",
}

MAX_REASONS = 10
"""Reasons that are shown with their counts if not every unreadable row is: the most frequent ones."""


async def run_replay(plan: Plan, settings: Settings, *, via: str, address: str, check_seconds: float | None) -> Report:
    """Replay a file, with progress and a summary on standard error.

    Args:
        plan: description of the replay.
        settings: addresses of Kafka, names of its topics, and the key for the server.
        via: `http` or `kafka`.
        address: URL of the HTTP server; counters are read from it even if events go to Kafka.
        check_seconds: longest wait until the system has learned everything; `None` reads no counters.

    Raises:
        WrongFile, KafkaError, httpx.HTTPError: the file can't be read, or the system doesn't answer at all.
    """
    console, key = Console(file=sys.stderr), settings.api_key.get_secret_value()
    async with AsyncExitStack() as ends:
        with console.status(f"reading {plan.path.name}"):
            span = Span.of(plan)
        client = ends.enter_context(Client(address, key=key))
        before = counters(client) if check_seconds is not None else {}
        sender: Sender
        if via == "http":
            client.check_alive()
            sender = await ends.enter_async_context(http_sender(address, key))
        else:
            sender = await ends.enter_async_context(kafka_sender(settings))

        columns = [
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[counts]}"),
            TimeRemainingColumn(),
        ]
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(plan.path.name, total=plan.path.stat().st_size, counts="")

            def progress(done_bytes: int, report: Report) -> None:
                rate = report.sent / report.seconds if report.seconds else 0.0
                bar.update(task, completed=done_bytes, counts=f"{report.sent:,} events, {rate:,.0f}/s")

            report = await replay(plan, sender, span=span, progress=progress)
        if check_seconds is not None:
            with console.status("waiting until the system has learned it"):
                report.seen = await wait_until_learned(client, before, report, check_seconds)
    console.print(_table(report))
    by_reason = [f"{count:,} rows: {reason}" for reason, count in report.reasons.most_common(MAX_REASONS)]
    listed = by_reason if report.unreadable > MAX_PROBLEMS else []
    left_out = [f"left out: {count:,} {_LEFT_OUT.get(rule, rule)}" for rule, count in sorted(report.left_out.items())]
    for problem in [*report.summary()["problems"], *listed, *left_out, *report.cautions]:
        console.print(f"  {problem}", style="yellow", markup=False, highlight=False)
    return report


def _table(report: Report) -> Table:
    outcome = report.outcome
    table = Table(show_header=False, box=None, pad_edge=False)
    rows = [
        ("rows in the file", report.rows),
        ("  unreadable", report.unreadable),
        *([("  left out by the mapping", report.records_left_out)] if report.records_left_out else []),
        *([("  become events", report.rows_sent)] if report.rows_sent != report.sent else []),
        ("  sent", report.sent),
        ("    acknowledged", outcome.acknowledged),
        ("    refused", outcome.refused),
        ("    failed", outcome.failed),
    ]
    if report.seen is not None:
        rows += [("read by the system", report.seen["read"])]
        rows += [(f"  {counter.replace('_', ' ')}", report.seen[counter]) for counter in COUNTERS[1:]]
    for name, count in rows:
        table.add_row(name, f"{count:>12,}")
    table.add_row("events a second", f"{report.sent / report.seconds if report.seconds else 0:>12,.0f}")
    table.add_row("the counts close" if report.closed else "THE COUNTS DO NOT CLOSE", "")
    return table
