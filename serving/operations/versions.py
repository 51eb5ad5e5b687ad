"""Versions over HTTP: the list of them, one manifest, the difference between two, rollback and its end.

A rollback moves the alias `pinned` and takes effect on every server; this one answers from the chosen version before
the call returns. Learning continues, and `DELETE /v1/pin` returns to the newest version. Both calls have to be
`application/json`, with a body or without, so that a page of another site can't make a browser send them.

This file decides which operations on versions there are over HTTP and what they return. Aliases and versions themselves
are decided by `stream.versions`; its errors become problems in `serving.web.problems`. Redis is asked in a thread, so
that the event loop continues to answer lists.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

import serving.web.path_ids  # noqa: F401  registers the convertor of `{name:id}` in paths
from serving.access.guard import caller_of
from serving.web.body import read_body, require_json
from serving.web.endpoint import problem_responses
from serving.web.parsing import BodyReader
from serving.web.unknown_parameters import refuse_unknown_parameters
from serving.wiring import ServedVersions, Store
from stream.versions import PINNED, AliasMove, UnknownVersion, Version, redacted
from stream.versions.manifest import rfc3339

T = TypeVar("T")

VERSION_NAME_LENGTH = 64
"""Longest name of a version: an id in full."""


class VersionSummary(msgspec.Struct):
    """One version in a list."""

    number: int
    id: str
    parent: str | None
    lineage: str
    created_at: str
    events: int
    aliases: list[str]
    served: bool
    """True for the version that this server answers from."""


class VersionList(msgspec.Struct):
    """Kept versions, newest first, and the history of aliases."""

    model: str
    served: int | None
    pinned: int | None
    aliases: dict[str, int]
    versions: list[VersionSummary]
    history: list[AliasMove]


class RollbackReason(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Body of a rollback; both fields go into the history."""

    who: Annotated[str, msgspec.Meta(max_length=200)] = ""
    why: Annotated[str, msgspec.Meta(max_length=2000)] = ""


class Pinned(msgspec.Struct):
    """Version that this server answers from now, and the pinned one."""

    served: int | None
    served_id: str | None
    pinned: int | None
    announced: bool = True
    """False if Redis refused to announce the move; other servers then follow within `CORRENTE_POLL_SECONDS`."""
    note: str | None = None
    """The refusal, what follows from it, and what would be right; null if the move was announced."""


VersionName = Annotated[str, Path(description="Number, alias or id of a version.")]
OlderVersion = Annotated[str, Path(description="Number, alias or id of the older version.")]
NewerVersion = Annotated[str, Path(description="Number, alias or id of the newer version.")]

_read_reason = BodyReader(RollbackReason)

router = APIRouter(
    prefix="/v1", tags=["versions"], dependencies=[Depends(refuse_unknown_parameters)], default_response_class=Response
)


def _responses(shape: str, *problems: str) -> dict[int | str, dict[str, Any]]:
    schema = {"$ref": f"#/components/schemas/{shape}"} if shape else {"type": "object"}
    responses: dict[int | str, dict[str, Any]] = {
        "200": {"description": "Done", "content": {"application/json": {"schema": schema}}}
    }
    responses.update(problem_responses(*problems, "409", "422", "503"))
    return responses


_REASON_BODY = {
    "requestBody": {
        "required": True,
        "description": "Who and why, for the history. The media type has to be named in any case; an empty body stands "
        "for `{}`.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RollbackReason"}}},
    }
}


@router.get("/versions", responses=_responses("VersionList"))
async def list_versions(
    loader: ServedVersions,
    store: Store,
    limit: Annotated[int, Query(ge=1, le=10_000, description="Most versions, newest first.")] = 100,
) -> Response:
    """List kept versions, newest first, with aliases and the history of their moves."""

    def read() -> tuple[list[Version], dict[str, int], list[AliasMove]]:
        return store.versions()[:limit], store.aliases(), store.history()

    versions, aliases, history = await from_store(read)
    served = loader.served.version if loader.served else None
    return _json(
        VersionList(
            model=loader.model_name,
            served=served.number if served else None,
            pinned=aliases.get(PINNED),
            aliases=aliases,
            versions=[
                VersionSummary(
                    number=version.number,
                    id=version.id,
                    parent=version.parent,
                    lineage=version.lineage,
                    created_at=rfc3339(version.created_at),
                    events=version.events,
                    aliases=sorted(name for name, number in aliases.items() if number == version.number),
                    served=served is not None and served.id == version.id,
                )
                for version in versions
            ],
            history=history,
        )
    )


@router.get("/versions/{version:id}", responses=_responses("", "404"))
async def show_version(version: VersionName, store: Store) -> Response:
    """Show the manifest of a version, by number, alias or id."""
    found = await from_store(lambda: store.version(checked_name(version)))
    return _json({"id": found.id, **redacted(found.manifest)})


@router.get("/versions/{a:id}/diff/{b:id}", responses=_responses("", "404"))
async def compare_versions(a: OlderVersion, b: NewerVersion, store: Store) -> Response:
    """Show what changed from one version to another."""
    return _json(await from_store(lambda: store.diff(checked_name(a), checked_name(b))))


@router.post(
    "/versions/{version:id}/rollback",
    responses=_responses("Pinned", "400", "404", "413", "415"),
    openapi_extra=_REASON_BODY,
)
async def roll_back(version: VersionName, request: Request, loader: ServedVersions, store: Store) -> Response:
    """Pin a version: every server answers from it until another is pinned or the pin is removed."""
    held = loader.held(version)

    def number() -> int:
        if held is not None and version == str(held.version.number):
            return held.version.number  # it can be read, and moving the alias fails if the store no longer has it
        # Also by an id that is held: once the store was emptied, its number may be another version's.
        return store.version(checked_name(version)).number

    return await _move_pin(request, loader, store, number)


@router.delete("/pin", responses=_responses("Pinned", "400", "413", "415"), openapi_extra=_REASON_BODY)
async def follow_newest(request: Request, loader: ServedVersions, store: Store) -> Response:
    """Remove the pin: answer from the newest version again."""
    return await _move_pin(request, loader, store, lambda: None)


async def _move_pin(
    request: Request, loader: ServedVersions, store: Store, number: Callable[[], int | None]
) -> Response:
    """Pin the version of a number, or remove the pin, and answer once this server has followed."""
    reason, caller = await _reason(request), caller_of(request.scope)

    def move() -> tuple[int | None, str | None, int]:
        pinned = number()
        try:
            note = store.move_alias(
                PINNED,
                pinned,
                who=reason.who,
                why=reason.why,
                now=time.time(),
                caller=caller,
                origin=loader.origin,
            )
        finally:  # it may be moved also if the reply was lost
            begun = loader.store_changed()
        return pinned, note, begun

    pinned, note, begun = await from_store(move)
    await loader.caught_up(begun)
    return _json(_pinned(loader, pinned, note))


async def from_store(read: Callable[[], T]) -> T:
    """Ask the version store in a thread. Its errors are answered by the table in `serving.web.problems`."""
    return await asyncio.to_thread(read)


def checked_name(name: str) -> str:
    """The name, unless no version can have it. Raises `UnknownVersion` then, without asking Redis."""
    if not (0 < len(name) <= VERSION_NAME_LENGTH and name.isascii() and name.isprintable()):
        raise UnknownVersion(f"no version can have the name {name[:40]!r}: name it by its number, an alias or its id")
    return name


async def _reason(request: Request) -> RollbackReason:
    require_json(request.scope["headers"])
    body = await read_body(request.scope, request.receive, request.app.state.settings.max_body_bytes)
    return _read_reason(body) if body else RollbackReason()


def _pinned(loader: ServedVersions, pinned: int | None, note: str | None) -> Pinned:
    served = loader.served.version if loader.served else None
    return Pinned(served.number if served else None, served.id if served else None, pinned, note is None, note)


def _json(content: Any) -> Response:
    return Response(msgspec.json.encode(content), media_type="application/json")
