"""Checks of `schemathesis run` beside its own: reasons to refuse a fitting request, deletions, and methods; beacons."""

from __future__ import annotations

import json
import re
from http import HTTPStatus

import schemathesis
from schemathesis.specs.openapi.checks import allow_header_conformance, use_after_free

BEYOND_SCHEMAS = tuple(
    re.compile(rf"(element \d+: )?{each}", re.DOTALL)
    for each in (
        r"(\w+: )?timestamp: ",  # from 1970 on, and not ahead of the server's clock
        r"published_after: ",  # a time too
        r"[\w\[\]]+: an id is 1 to 256 bytes, this (one has \d+|integer)",  # schemas count characters
        r"\w+: '[-+\w.\\ ]*\d[-+\w.\\ ]*' is not a finite number",  # text such as 1e999, larger than any
        r"[\w\[\].]+: expected .*int.*, got float",  # 5.0 is an integer to a schema
        r"revision: a whole number from 0, not '?[\d.]+",  # the same
        r"labels: .* is no condition",  # JSON within a parameter
        r"labels(\..+)?: \w+ takes ",  # values go with operators
        r"cursor: not one that a page returned",
        r"categories: .* names no category",  # of blanks, or of slashes alone
        r"price_m(in|ax): ",  # one goes with the other
        r"exclude_seen: it needs the visitor's history",  # rules about two parameters
        r"n: reasons are given for at most",
        r"seen_within: it says how long ago",
        r"include: candidates are given too",
        r"exclude: it takes away everything",
        r"(categories|tags|brands)_none: (.* is in \w+ too|it takes away everything)",
    )
)
"""Beginnings of the details of such refusals."""

KEY_HEADERS = ("x-api-key", "authorization")


@schemathesis.serializer("text/plain")
def beacon(ctx, value) -> bytes:
    """The only bodies of plain text are beacons, which hold JSON."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@schemathesis.hook
def before_call(context, case, kwargs) -> None:
    """A body of plain text is a beacon if no key stands in the headers; the one in it opens nothing here."""
    if case.media_type == "text/plain":
        for name in [name for name in case.headers if name.lower() in KEY_HEADERS]:
            del case.headers[name]


@schemathesis.check
def refused_for_what_no_schema_can_say(ctx, response, case) -> None:
    """Fails for a 422 to a fitting request that names a rule which the document could have."""
    fits = case.meta is not None and case.meta.generation.mode.is_positive
    if fits and response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        detail = response.json()["detail"]
        assert any(each.match(detail) for each in BEYOND_SCHEMAS), f"the document does not say it: {detail}"


@schemathesis.check
def documents_that_are_deleted_stay_deleted(ctx, response, case) -> bool | None:
    """schemathesis's own check, except for lists beside an item: its document is deleted, and not what was learned.

    A PUT or PATCH of what was deleted makes it anew.
    """
    beside = case.operation.path in {"/v1/items/{item}/similar", "/v1/items/{item}/bought-together"}
    if beside or case.method in {"PUT", "PATCH"}:
        return None
    return use_after_free(ctx, response, case)


@schemathesis.check
def allow_names_the_methods(ctx, response, case) -> bool | None:
    """schemathesis's own check, except where a GET is the list of a user with the id "batch"."""
    if response.request.url.partition("?")[0].endswith("/v1/recommendations/batch"):
        return None
    return allow_header_conformance(ctx, response, case)
