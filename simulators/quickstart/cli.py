"""`corrente quickstart` as a command.

This file decides its options, its exit codes and what it prints: progress on stderr, so that stdout is the result
alone.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Annotated, Any

import typer

SEED_EVENTS = 5_000
LINE_SECONDS = 10.0
"""Interval between lines that say that the start goes on."""


def quickstart(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the HTTP server, 0 for any free one.")
    ] = None,
    seed_shop: Annotated[
        bool, typer.Option("--seed-shop/--no-seed-shop", help="Learn 5,000 events of a simulated shop first.")
    ] = False,
    env: Annotated[
        bool, typer.Option("--env", help='Print exports for a shell: eval "$(corrente quickstart --env)".')
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Say what runs; ends with 1 if nothing does.")] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End it and wait until all of it is gone.")] = False,
) -> None:
    """Start the whole system in the background of this machine, and say when it is ready. Data is lost at its end.

    An embedded broker and Redis, one worker and one server. `CORRENTE_…` variables are passed on to worker and server,
    but for those about keys, and those that say where broker and Redis are and which address the server binds
    (127.0.0.1).
    """
    from simulators.quickstart.session import NoFolder, NotRunning, Place, Session, exports
    from stream.settings import load_settings

    if env + status + stop > 1 or ((env or status or stop) and (seed_shop or port is not None)):
        raise typer.BadParameter("--env, --status and --stop stand alone")
    try:
        session = Session(Place())
        if env:
            print("\n".join(exports(_running(session), os.environ)))
        elif status:
            _print_status(session)
        elif stop:
            print("stopped; nothing is left running" if session.stop() else "nothing was running")
        else:
            wanted = load_settings().port if port is None else port
            _start(session, wanted, SEED_EVENTS if seed_shop else 0)
    except (NoFolder, NotRunning) as error:
        print(f"corrente quickstart: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


def _start(session: Any, port: int, seed_events: int) -> None:
    def ended(*_: Any) -> None:
        raise KeyboardInterrupt

    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(end, ended)
    progress = _Progress()
    try:
        started = session.start(port, os.environ, seed_events, progress.step, progress.waiting)
    except KeyboardInterrupt:
        for end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(end, signal.SIG_IGN)
        print("\nstopping", file=sys.stderr, flush=True)
        session.interrupt()
        print("stopped; nothing is left running", file=sys.stderr)
        raise typer.Exit(130) from None
    address = started.record.address
    state = "runs" if started.new else "runs already"
    print(
        f"Corrente {state} on {address} (docs: {address}/docs). It learns from what is posted:\n\n"
        f"""  curl {address}/v1/events/clicks -d '{{"user": "ada", "item": "teapot"}}'\n"""
        f"  curl {address}/v1/recommendations/ada\n\n"
        '  eval "$(corrente quickstart --env)"   # connects other commands to it: corrente versions list\n'
        "  corrente quickstart --stop            # ends it; everything that it learned is lost then"
    )


def _running(session: Any) -> Any:
    from simulators.quickstart.session import NotRunning

    record = session.record
    if record is None:
        raise NotRunning("nothing runs. Start it: corrente quickstart")
    if not record.ready:
        raise NotRunning("it is still starting. Wait for it: corrente quickstart")
    return record


def _print_status(session: Any) -> None:
    """Print what runs; raises `typer.Exit` with code 1 if nothing does."""
    from simulators.quickstart.record import SECRET

    record = session.record
    if record is None:
        print(f"nothing runs; the last one ended: {session.last_end}" if session.last_end else "nothing runs")
        raise typer.Exit(1)
    if not record.ready:
        print(f"starting: {record.steps[-1] if record.steps else 'the supervisor runs'} (process {record.pid})")
        return
    settings = {name: "(secret)" if name == SECRET else value for name, value in record.settings.items()}
    for name, value in (
        ("server", f"{record.address} (docs: {record.address}/docs)"),
        ("worker", f"metrics: {record.metrics}"),
        ("broker", record.kafka),
        ("Redis", record.redis),
        ("logs", record.logs),
        ("supervisor", f"process {record.pid}"),
        ("settings", " ".join(f"{name}={value}" for name, value in settings.items()) or "defaults"),
    ):
        print(f"{name:<11} {value}")


class _Progress:
    """Lines about a start, each with the seconds since its beginning."""

    def __init__(self) -> None:
        self._began = self._printed = time.monotonic()

    def step(self, text: str) -> None:
        self._printed = time.monotonic()
        print(f"{self._printed - self._began:4.0f} s  {text}", file=sys.stderr, flush=True)

    def waiting(self) -> None:
        """Say every `LINE_SECONDS` that the start goes on."""
        if time.monotonic() > self._printed + LINE_SECONDS:
            self.step("still starting")
