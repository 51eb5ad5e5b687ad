"""Calls for versions, and for the state of the server.

This file decides how versions are named in a request, and which answers of health are no errors.
"""

from __future__ import annotations

from typing import Any

from corrente.answers import (
    Health,
    Live,
    Pinned,
    Transparency,
    VersionList,
)
from corrente.calls.call import Call, encode, json_of, pairs_of, plain_text
from corrente.events import Id

_PINNED = json_of(Pinned)
_OBJECT = json_of(dict[str, Any])


def versions(*, limit: int | None = None) -> Call[VersionList]:
    """Kept versions, newest first, with aliases and the history of their moves.

    >>> [version.number for version in client.versions().versions]
    [2, 1]
    """
    return Call("GET /v1/versions", json_of(VersionList), query=pairs_of({"limit": limit}))


def version(version: Id) -> Call[dict[str, Any]]:
    """The manifest of a version, by number, alias or id."""
    return Call("GET /v1/versions/{version}", _OBJECT, ids=[version])


def diff(a: Id, b: Id) -> Call[dict[str, Any]]:
    """Differences of two versions: what changed from the first one to the second."""
    return Call("GET /v1/versions/{a}/diff/{b}", _OBJECT, ids=[a, b])


def roll_back(version: Id, *, who: str = "", why: str = "") -> Call[Pinned]:
    """Pin a version: every server answers from it until another is pinned or the pin is removed.

    Args:
        version: its number, alias or id.
        who, why: for the history.

    >>> client.roll_back(1, why="an experiment").pinned
    1
    >>> client.follow_newest().served
    2
    """
    body = encode({"who": who, "why": why})
    return Call("POST /v1/versions/{version}/rollback", _PINNED, ids=[version], body=body, repeatable=False)


def follow_newest(*, who: str = "", why: str = "") -> Call[Pinned]:
    """Remove the pin: answer from the newest version again."""
    return Call("DELETE /v1/pin", _PINNED, body=encode({"who": who, "why": why}), repeatable=False)


def transparency() -> Call[Transparency]:
    """The main parameters that decide the lists, and their relative weight."""
    return Call("GET /v1/transparency", json_of(Transparency))


def transparency_page() -> Call[str]:
    """The main parameters as a page of HTML for visitors."""
    return Call("GET /v1/transparency/page", plain_text)


def live() -> Call[Live]:
    """Say that the process runs."""
    return Call("GET /health/live", json_of(Live))


def ready() -> Call[Health]:
    """State of the server. A server that is still starting answers too, with the status `starting`.

    >>> client.ready().status
    'ready'
    """
    return Call("GET /health/ready", json_of(Health), answers=frozenset({503}))


def metrics() -> Call[str]:
    """Counters in the text format of Prometheus."""
    return Call("GET /metrics", plain_text)
