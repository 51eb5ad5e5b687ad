"""The application behind its own protocol on a port of its own, and clients that send bytes as they like."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from serving.app import Server, create_app
from serving.process.server import HttpServer, bound_socket, uvicorn_config
from stream.settings import Settings


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers, json.loads(body) if body[:1] in {b"{", b"["} else body)

    async def ask(self, target: str, *headers: str, method: str = "GET", body: bytes | None = None) -> Answer:
        """Send one request that is right as HTTP, and return its answer."""
        lines = [f"{method} {target} HTTP/1.1", "host: corrente", *headers]
        if body is not None:
            lines += [f"content-length: {len(body)}", "content-type: application/json"]
        await self.send("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return await self.answer()

    async def closed(self) -> bytes:
        """All bytes until the server closes."""
        return await self.reader.read()


class Live(NamedTuple):
    app: Server
    server: HttpServer
    port: int

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Client]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()


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
        await asyncio.wait_for(serving, 30.0)
