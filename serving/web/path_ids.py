"""Ids in paths, which may hold any character, a slash too.

This file decides how such an id is routed and decoded. A server hands over the path twice: decoded, where `a%2Fb` has
become two segments, and as it was sent. `route_by_raw_path` lets routes match the path as it was sent, so that
`{user:id}` is always one segment, and the `id` convertor decodes that segment afterwards. Which ids are valid is
decided by `stream.events`.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any
from urllib.parse import quote, unquote

from starlette.convertors import Convertor, register_url_convertor


class IdConvertor(Convertor[str]):
    """Convertor of one path segment, percent-decoded. Bytes that are not UTF-8 become lone surrogates: no id has them.

    >>> IdConvertor().convert("a%2Fb%20c")
    'a/b c'
    """

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value, errors="surrogateescape") if "%" in value else value

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("id", IdConvertor())


def route_by_raw_path(scope: MutableMapping[str, Any]) -> None:
    """Replace the decoded path by the path as it was sent. For most requests both are the same."""
    raw = scope.get("raw_path")
    if raw and b"%" in raw:
        scope["path"] = raw.decode("ascii")
