"""Scopes: names for what a key opens. A route needs one of them, and a key has one or several.

This file decides which scopes there are, and which are administrative. The scope of each route is decided in
`serving.access.route_scopes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

EVENTS_WRITE = "events:write"
RECOMMENDATIONS_READ = "recommendations:read"
CATALOGUE_READ = "catalogue:read"
CATALOGUE_WRITE = "catalogue:write"
VISITORS_READ = "visitors:read"
VERSIONS_ADMIN = "versions:admin"
METRICS_READ = "metrics:read"
KEYS_ADMIN = "keys:admin"

SCOPES: Mapping[str, str] = {
    EVENTS_WRITE: "post events",
    RECOMMENDATIONS_READ: "read lists",
    CATALOGUE_READ: "read documents of items",
    CATALOGUE_WRITE: "write and delete documents of items and profiles of users",
    VISITORS_READ: "read profiles of users, and reasons of their lists",
    VERSIONS_ADMIN: "pin versions and move aliases",
    METRICS_READ: "read metrics, health in full, and versions",
    KEYS_ADMIN: "make and revoke keys",
}
"""Every scope with what it allows, as a verb phrase."""

ADMINISTRATIVE = frozenset({VISITORS_READ, VERSIONS_ADMIN, KEYS_ADMIN})
"""Scopes whose keys are looked up in Redis at each request, and refused while Redis is away."""

PUBLIC_SCOPES = (EVENTS_WRITE, RECOMMENDATIONS_READ)
"""Scopes of a public key, for the visitor of its token alone. Its record names none of them, so that a server of a
release that knows no public keys lets none in."""

ALL = "all"
"""Word that stands for every scope where a key is made."""


class WrongKey(ValueError):
    """A key can't be made or changed as asked; the text says what would be right."""


def checked_scopes(names: Iterable[str]) -> list[str]:
    """Scopes in the order of `SCOPES`, each once; `all` stands for every one.

    >>> checked_scopes(["recommendations:read", "events:write", "events:write"])
    ['events:write', 'recommendations:read']

    Raises:
        WrongKey: a name is no scope, or there is none.
    """
    given = set(names)
    if not given:
        raise WrongKey(f"a key needs a scope at least. There are: {', '.join(SCOPES)}; `{ALL}` is every one of them")
    if ALL in given:
        given = {*SCOPES, *(given - {ALL})}
    if unknown := sorted(given - set(SCOPES)):
        raise WrongKey(f"there is no scope {unknown[0]!r}. There are: {', '.join(SCOPES)}")
    return [name for name in SCOPES if name in given]
