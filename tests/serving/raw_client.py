"""A client that sends bytes as it likes on one connection, and reads whole answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: Any


class Client:
    """One connection, byte by byte."""

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


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Client]:
    """A connection to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
