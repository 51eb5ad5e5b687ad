"""Steps from a request about documents to the store and back.

This file decides how ids, bodies and revisions of documents are read, and which status an error gets. Redis is asked in
a thread, so that the event loop continues to answer lists.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import msgspec
from fastapi import Request
from starlette.responses import Response

from serving.web.body import read_body
from serving.web.problems import Problem
from stream.catalogue.documents import InvalidDocument
from stream.catalogue.item import Item
from stream.catalogue.profile import Profile
from stream.catalogue_store.store import DocumentStore, Stored, Write, WrongCursor, WrongRevision
from stream.events import Id, check_id, text_of
from stream.values import InvalidEvent

D = TypeVar("D", bound=Item | Profile)
T = TypeVar("T")

MAX_BULK = 10_000
"""Most documents of one request."""

BULK_WRITTEN = 500
"""Documents that are written in one step of Redis, which answers nothing else meanwhile."""


class DocumentCalls(Generic[D]):
    """Calls about one kind of document.

    Args:
        field: name of the id in JSON, `item` or `user`.
        store_of: the store of this kind, in the application's state.
    """

    def __init__(self, field: str, store_of: Callable[[Any], DocumentStore[D]]) -> None:
        self.field = field
        self._store_of = store_of

    def store(self, request: Request) -> DocumentStore[D]:
        """The store of this kind."""
        return self._store_of(request.app.state)

    async def put(self, request: Request, identifier: str) -> Stored[D]:
        """Replace a document by the body.

        Raises:
            Problem: 400 or 422 for a wrong body or id, 409 for another revision.
        """
        self.check(identifier)
        store, body = self.store(request), await _body(request)
        document, expected = _reading(lambda: store.documents.read(body))
        written = await in_thread(lambda: store.write([Write(identifier, document, expected)]))
        return Stored(identifier, written, document)

    async def patch(self, request: Request, identifier: str) -> Stored[D]:
        """Change fields of a document, which is made if it isn't there. Errors as in `put`."""
        self.check(identifier)
        store, body = self.store(request), await _body(request)

        def read() -> tuple[dict[str, Any], int | None]:
            fields = store.documents.fields(body)
            _, expected = store.documents.from_fields({"revision": fields.get("revision")})
            return fields, expected

        fields, expected = _reading(read)
        return await in_thread(lambda: store.change(identifier, fields, expected))

    async def get(self, request: Request, identifier: str) -> Stored[D]:
        """A document.

        Raises:
            Problem: 404 if there is none.
        """
        self.check(identifier)
        store = self.store(request)
        found = await in_thread(lambda: store.read(identifier))
        if found is None:
            raise Problem(404, f"{self.field}: there is no document of {identifier!r}", field=self.field)
        return found

    async def delete(self, request: Request, identifier: str) -> int:
        """Delete a document, whether there is one or not; returns the revision of the change."""
        self.check(identifier)
        store = self.store(request)
        return await in_thread(lambda: store.write([Write(identifier, None)]))

    async def page(
        self, request: Request, cursor: str | None, limit: int
    ) -> tuple[list[Stored[D]], str | None, int, int]:
        """Documents, the next cursor, their number in all, and the revision.

        Raises:
            Problem: 422 for a cursor that no page returned.
        """
        store = self.store(request)
        return await in_thread(lambda: (*store.page(cursor, limit), store.count(), store.revision()))

    async def put_many(self, request: Request) -> tuple[int, int]:
        """Replace the documents of an array; returns their number and the last revision.

        Raises:
            Problem: as in `put`, with the number of the element.
        """
        store, body = self.store(request), await _body(request)
        try:
            elements = msgspec.json.decode(body, type=list[dict[str, Any]])
        except msgspec.ValidationError as error:
            raise Problem(422, f"an array of documents is expected: {error}") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Problem(400, f"The body is not JSON: {error}.") from None
        if len(elements) > MAX_BULK:
            raise Problem(413, f"{len(elements)} documents; at most {MAX_BULK} are taken at once")
        writes = [self._element(store, number, fields) for number, fields in enumerate(elements)]

        def write() -> int:
            revision = 0
            for start in range(0, len(writes), BULK_WRITTEN):
                try:
                    revision = store.write(writes[start : start + BULK_WRITTEN])
                except WrongRevision as error:
                    raise _conflict(error, start + error.place, start) from None
            return revision

        return len(writes), await in_thread(write)

    def _element(self, store: DocumentStore[D], number: int, fields: dict[str, Any]) -> Write[D]:
        identifier = fields.pop(self.field, None)
        if not isinstance(identifier, str | int) or isinstance(identifier, bool):
            raise Problem(
                422,
                f"element {number}: {self.field}: the id of the {self.field} is required",
                index=number,
                field=self.field,
            )
        try:
            check_id(self.field, identifier)
            document, expected = store.documents.from_fields(fields)
        except InvalidEvent as error:
            raise Problem(422, f"element {number}: {error}", index=number, field=self.field) from None
        except InvalidDocument as error:
            raise Problem(422, f"element {number}: {error}", index=number, field=error.field) from None
        return Write(text_of(identifier), document, expected)

    def check(self, identifier: Id) -> None:
        """Raises `Problem` 422 for an id that no item or user can have."""
        try:
            check_id(self.field, identifier)
        except InvalidEvent as error:
            raise Problem(422, str(error), field=self.field) from None


def answer(content: msgspec.Struct) -> Response:
    """A response with this JSON."""
    return Response(msgspec.json.encode(content), media_type="application/json")


async def in_thread(ask: Callable[[], T]) -> T:
    """Ask the store in a thread, with its errors as problems; those of the connection have a row in `problems`."""

    def asked() -> T:
        try:
            return ask()
        except InvalidDocument as error:
            raise Problem(422, str(error), field=error.field) from None
        except WrongCursor as error:
            raise Problem(422, str(error), field="cursor") from None
        except WrongRevision as error:
            raise _conflict(error) from None

    return await asyncio.to_thread(asked)


def _conflict(error: WrongRevision, index: int | None = None, written: int = 0) -> Problem:
    before = f" The {written} documents before were written." if written else ""
    return Problem(409, f"revision: {error}.{before}", field="revision", index=index)


def _reading(read: Callable[[], T]) -> T:
    try:
        return read()
    except InvalidDocument as error:
        raise Problem(422, str(error), field=error.field) from None


async def _body(request: Request) -> bytes:
    return await read_body(request.scope, request.receive, request.app.state.settings.max_body_bytes)
