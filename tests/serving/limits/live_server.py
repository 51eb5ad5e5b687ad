"""The application behind its own protocol on a port of its own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

from serving.app import Server, create_app
from serving.process.server import HttpServer, bound_socket, uvicorn_config
from stream.settings import Settings
from tests.serving.raw_client import Client, connected


class Live(NamedTuple):
    app: Server
    server: HttpServer
    port: int

    def connected(self) -> AbstractAsyncContextManager[Client]:
        return connected(self.port)


@contextlib.asynccontextmanager
async def live(settings: Settings, *, reachable: bool = False) -> AsyncIterator[Live]:
    """The whole server but for its process: the application, the fast path, and limits of connections."""
    app = create_app(settings, reachable=reachable)
    server, listening = HttpServer(uvicorn_config(app, settings)), bound_socket("127.0.0.1", 0)
    listening.listen(1024)
    serving = asyncio.create_task(server.serve([listening]))
    try:
        while not server.started:
            assert not serving.done(), "the server did not start"
            await asyncio.sleep(0.01)
        yield Live(app, server, listening.getsockname()[1])
    finally:
        server.should_exit = True
        async with asyncio.timeout(30.0):
            await serving
