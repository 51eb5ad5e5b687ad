"""Routes of the catalogue: `/v1/items` and `/v1/users`.

This file decides which routes there are and how each is described in the OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

import serving.web.path_ids  # noqa: F401  registers the convertor of `{name:id}` in paths
from serving.catalogue.calls import DocumentCalls, answer
from serving.catalogue.documents import (
    ItemDeleted,
    ItemDocument,
    ItemPage,
    ItemsWritten,
    ItemWritten,
    ProfileDeleted,
    ProfileDocument,
    ProfilePage,
    ProfileWritten,
)
from serving.web.endpoint import problem_responses
from serving.web.unknown_parameters import refuse_unknown_parameters
from stream.catalogue.item import Item
from stream.catalogue.profile import Profile
from stream.catalogue_store.store import Stored
from stream.events import ID_SCHEMA

router = APIRouter(
    prefix="/v1",
    tags=["catalogue"],
    dependencies=[Depends(refuse_unknown_parameters)],
    default_response_class=Response,
)

ITEMS: DocumentCalls[Item] = DocumentCalls("item", lambda state: state.catalogue_store.items)
USERS: DocumentCalls[Profile] = DocumentCalls("user", lambda state: state.catalogue_store.users)

Limit = Annotated[int, Query(ge=1, le=1000, description="Most documents of a page.")]
ItemId = Annotated[
    str,
    Path(
        description="Id of the item. Percent-encoded; may hold any character but control characters.",
        json_schema_extra=dict(ID_SCHEMA),
    ),
]
UserId = Annotated[
    str,
    Path(
        description="Id of the user. Percent-encoded; may hold any character but control characters.",
        json_schema_extra=dict(ID_SCHEMA),
    ),
]
Cursor = Annotated[str | None, Query(max_length=400, description="From the page before; none begins at the start.")]


MEANINGS = {"404": "There is no such document", "409": "The document has another revision than the body names"}
"""Meaning of a status on these routes, where other routes mean something else by it."""


def described(shape: str, *problems: str, body: str | None = None, many: bool = False) -> dict[str, Any]:
    """Arguments that document a route, written here because FastAPI refuses Structs as bodies and answers."""
    schema = {"$ref": f"#/components/schemas/{shape}"}
    responses: dict[int | str, Any] = {
        "200": {"description": "Done", "content": {"application/json": {"schema": schema}}}
    }
    responses.update(problem_responses("422", "503", *problems))
    for status in MEANINGS.keys() & responses.keys():
        responses[status] = {**responses[status], "description": MEANINGS[status]}
    if body is None:
        return {"responses": responses}
    element = {"$ref": f"#/components/schemas/{body}"}
    content = {"type": "array", "items": element} if many else element
    request = {"required": True, "content": {"application/json": {"schema": content}}}
    return {"responses": responses, "openapi_extra": {"requestBody": request}}


WRITING = ("400", "409", "413", "415")


@router.put("/items", **described("ItemsWritten", *WRITING, body="ItemToWrite", many=True))
async def put_items(request: Request) -> Response:
    """Write many items: an array of documents, each with its id as `item`; each replaces what there was."""
    return answer(ItemsWritten(*await ITEMS.put_many(request)))


@router.get("/items", **described("ItemPage"))
async def list_items(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Response:
    """List items in the order of their ids, one page at a time."""
    found, following, total, revision = await ITEMS.page(request, cursor, limit)
    return answer(ItemPage(list(map(_item, found)), following, total, revision))


@router.put("/items/{item:id}", **described("ItemDocument", *WRITING, body="ItemBody"))
async def put_item(request: Request, item: ItemId) -> Response:
    """Write an item: the body replaces what there was.

    A `revision` in the body is the one that the document must have, 0 if there must be none.
    """
    return answer(_item(await ITEMS.put(request, item)))


@router.patch("/items/{item:id}", **described("ItemWritten", *WRITING, body="ItemChange"))
async def patch_item(request: Request, item: ItemId) -> Response:
    """Change some fields of an item; null removes one (RFC 7396). The item is made if it isn't there."""
    written = await ITEMS.patch(request, item)
    return answer(ItemWritten(item, written.revision))


@router.get("/items/{item:id}", **described("ItemDocument", "404"))
async def show_item(request: Request, item: ItemId) -> Response:
    """Show an item's document."""
    return answer(_item(await ITEMS.get(request, item)))


@router.delete("/items/{item:id}", **described("ItemDeleted"))
async def delete_item(request: Request, item: ItemId) -> Response:
    """Delete an item: it is in no list any more, of any version, until it is written again."""
    revision = await ITEMS.delete(request, item)
    note = "The document is deleted and the item is in no list. What was learned from its events stays in the model."
    return answer(ItemDeleted(item, revision, note))


@router.get("/users", **described("ProfilePage"))
async def list_users(request: Request, cursor: Cursor = None, limit: Limit = 100) -> Response:
    """List users' profiles in the order of their ids, one page at a time."""
    found, following, total, revision = await USERS.page(request, cursor, limit)
    return answer(ProfilePage(list(map(_profile, found)), following, total, revision))


@router.put("/users/{user:id}", **described("ProfileWritten", *WRITING, body="ProfileBody"))
async def put_user(request: Request, user: UserId) -> Response:
    """Write a user's profile: the body replaces what there was.

    A `revision` in the body is the one that the document must have, 0 if there must be none.
    """
    written = await USERS.put(request, user)
    return answer(ProfileWritten(user, written.revision))


@router.patch("/users/{user:id}", **described("ProfileWritten", *WRITING, body="ProfileChange"))
async def patch_user(request: Request, user: UserId) -> Response:
    """Change some fields of a profile; null removes one (RFC 7396). The profile is made if it isn't there."""
    written = await USERS.patch(request, user)
    return answer(ProfileWritten(user, written.revision))


@router.get("/users/{user:id}", **described("ProfileDocument", "404"))
async def show_user(request: Request, user: UserId) -> Response:
    """Show a user's profile."""
    return answer(_profile(await USERS.get(request, user)))


@router.delete("/users/{user:id}", **described("ProfileDeleted"))
async def delete_user(request: Request, user: UserId) -> Response:
    """Delete a user's profile, and nothing else: what was learned from the user's events stays."""
    revision = await USERS.delete(request, user)
    note = "Only the profile is deleted. What was learned from the user's events stays in the model and its versions."
    return answer(ProfileDeleted(user, revision, note))


def _item(stored: Stored[Item]) -> ItemDocument:
    return ItemDocument(item=stored.id, revision=stored.revision, **msgspec.structs.asdict(stored.document))


def _profile(stored: Stored[Profile]) -> ProfileDocument:
    return ProfileDocument(user=stored.id, revision=stored.revision, **msgspec.structs.asdict(stored.document))
