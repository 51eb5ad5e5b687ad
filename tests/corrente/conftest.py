"""Fixtures: a scripted server, and both clients behind one way of calling them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from corrente import AsyncClient, Client, Retries
from tests.corrente.scripted_server import ScriptedServer
from tests.serving.conftest import _redis

__all__ = ["_redis"]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.stop()


CERTIFICATES = ssl.create_default_context()
"""Read once: httpx would read them again for each client."""


class Driver:
    """One client of either kind. `slept` has the waits between attempts, in seconds, none of which is waited.

    Calls of an `AsyncClient` run in an event loop of this thread, and so does its task while something is awaited.
    """

    def __init__(self, kind: str, address: str, **options: Any) -> None:
        self.slept: list[float] = []
        options = {"retries": Retries(chance=lambda: 0.5), "clock": lambda: 1_800_000_000.0, **options}

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        self.client: Any = (
            Client(address, sleep=self.slept.append, http=httpx.Client(verify=CERTIFICATES), **options)
            if kind == "sync"
            else AsyncClient(address, sleep=sleep, http=httpx.AsyncClient(verify=CERTIFICATES), **options)
        )
        self._loop = asyncio.new_event_loop() if kind == "async" else None

    def do(self, name: str, *args: Any, **options: Any) -> Any:
        """Call a method, and await it if it has to be."""
        if self._loop is None:
            return getattr(self.client, name)(*args, **options)

        async def call() -> Any:
            found = getattr(self.client, name)(*args, **options)
            return await found if asyncio.iscoroutine(found) else found

        return self._loop.run_until_complete(call())

    def close(self) -> None:
        self.do("close", seconds=0.0)
        if self._loop is None:
            self.client._http.close()
        else:
            self._loop.run_until_complete(self.client._http.aclose())
            self._loop.close()


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, server: ScriptedServer) -> Iterator[Callable[..., Driver]]:
    """`connect(**options)` makes a client of the scripted server, or of `address`."""
    made: list[Driver] = []

    def connect(address: str = "", **options: Any) -> Driver:
        driver = Driver(request.param, address or server.address, **options)
        made.append(driver)
        return driver

    yield connect
    for driver in made:
        driver.close()
