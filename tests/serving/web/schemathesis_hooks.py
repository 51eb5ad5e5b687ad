"""One more check of `schemathesis run`: a request that fits is refused only for what no JSON schema can say."""

from __future__ import annotations

import re
from http import HTTPStatus

import schemathesis

BEYOND_SCHEMAS = (
    re.compile(r"(element \d+: )?timestamp: "),  # from 1970 on, and not ahead of the server's clock
    re.compile(
        r"(element \d+: )?[\w\[\]]+: an id is 1 to 256 bytes, this (one has \d+|integer)"
    ),  # schemas count characters
    re.compile(
        r"(element \d+: )?\w+: '[-+.\w\\ ]*\d[-+.\w\\ ]*' is not a finite number"
    ),  # text such as 1e999, larger than any
    re.compile(r"(element \d+: )?[\w\[\].]+: expected .*int.*, got float"),  # 5.0 is an integer to a schema
)
"""Beginnings of the details of such refusals."""


@schemathesis.check
def refused_for_what_no_schema_can_say(ctx, response, case) -> None:
    """Fails for a 422 to a fitting request that names a rule which the document could have."""
    fits = case.meta is not None and case.meta.generation.mode.is_positive
    if fits and response.status_code == HTTPStatus.UNPROCESSABLE_ENTITY:
        detail = response.json()["detail"]
        assert any(each.match(detail) for each in BEYOND_SCHEMAS), f"the document does not say it: {detail}"
