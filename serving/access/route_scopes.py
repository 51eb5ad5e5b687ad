"""The scope of each route, in one table.

This file decides which scope a caller's key has to have for a route. A route without a row here is refused as an error
of this server, and fails `tests/serving/access/test_matrix.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from stream.access.scopes import (
    CATALOGUE_READ,
    CATALOGUE_WRITE,
    EVENTS_WRITE,
    METRICS_READ,
    RECOMMENDATIONS_READ,
    VERSIONS_ADMIN,
    VISITORS_READ,
)

OPEN = None
"""Marks a route that needs no key."""

ROUTE_SCOPES: Mapping[str, str | None] = {
    "GET /v1/recommendations/{user}": RECOMMENDATIONS_READ,
    "POST /v1/recommendations": RECOMMENDATIONS_READ,
    "POST /v1/recommendations/batch": RECOMMENDATIONS_READ,
    "POST /v1/rerank": RECOMMENDATIONS_READ,
    "GET /v1/users/{user}/recently-viewed": RECOMMENDATIONS_READ,
    "GET /v1/items/{item}/similar": RECOMMENDATIONS_READ,
    "GET /v1/items/{item}/bought-together": RECOMMENDATIONS_READ,
    "GET /v1/popular": RECOMMENDATIONS_READ,
    "GET /v1/trending": RECOMMENDATIONS_READ,
    "GET /v1/new-arrivals": RECOMMENDATIONS_READ,
    "POST /v1/events/clicks": EVENTS_WRITE,
    "POST /v1/events/purchases": EVENTS_WRITE,
    "POST /v1/events/feedback": EVENTS_WRITE,
    "GET /v1/items": CATALOGUE_READ,
    "PUT /v1/items": CATALOGUE_WRITE,
    "GET /v1/items/{item}": CATALOGUE_READ,
    "PUT /v1/items/{item}": CATALOGUE_WRITE,
    "PATCH /v1/items/{item}": CATALOGUE_WRITE,
    "DELETE /v1/items/{item}": CATALOGUE_WRITE,
    "GET /v1/users": VISITORS_READ,
    "GET /v1/users/{user}": VISITORS_READ,
    "PUT /v1/users/{user}": CATALOGUE_WRITE,
    "PATCH /v1/users/{user}": CATALOGUE_WRITE,
    "DELETE /v1/users/{user}": CATALOGUE_WRITE,
    "GET /v1/transparency": RECOMMENDATIONS_READ,
    "GET /v1/transparency/page": RECOMMENDATIONS_READ,
    "GET /v1/versions": METRICS_READ,
    "GET /v1/versions/{version}": METRICS_READ,
    "GET /v1/versions/{a}/diff/{b}": METRICS_READ,
    "POST /v1/versions/{version}/rollback": VERSIONS_ADMIN,
    "DELETE /v1/pin": VERSIONS_ADMIN,
    "GET /metrics": METRICS_READ,
    "GET /health/live": OPEN,
    "GET /health/ready": OPEN,  # its details need `metrics:read`, see `serving.operations.health`
}
"""Method and template of each route to its scope. Templates are those of the OpenAPI document."""

BEACON_ROUTES = frozenset({"POST /v1/events/clicks", "POST /v1/events/purchases", "POST /v1/events/feedback"})
"""Routes that take key and token in the body too."""

PUBLIC_ROUTES = BEACON_ROUTES | {
    "GET /v1/recommendations/{user}",
    "POST /v1/recommendations",
    "POST /v1/rerank",
    "GET /v1/users/{user}/recently-viewed",
    "GET /v1/items/{item}/similar",
    "GET /v1/items/{item}/bought-together",
    "GET /v1/popular",
    "GET /v1/trending",
    "GET /v1/new-arrivals",
}
"""Routes that a public key opens, with a token. Each keeps the request to the visitor of the token."""


READING_ROUTES = frozenset(
    {"GET /v1/users", "GET /v1/users/{user}", "GET /v1/recommendations/{user}", "POST /v1/recommendations"}
)
"""Routes that may read personal data, the lists if they are explained. A caller may say why in a header."""


class UndeclaredRoute(LookupError):
    """A route has no row in `ROUTE_SCOPES`."""


def scope_of(method: str, template: str) -> str | None:
    """The scope that a route needs; None if it is open.

    >>> scope_of("GET", "/v1/popular")
    'recommendations:read'

    Raises:
        UndeclaredRoute: the table has no such route.
    """
    try:
        return ROUTE_SCOPES[f"{method} {template}"]
    except KeyError:
        raise UndeclaredRoute(
            f"{method} {template} declares no scope: add a row to ROUTE_SCOPES in serving/access/route_scopes.py"
        ) from None
