"""Queries and bodies to Structs, and what msgspec says about a wrong one to a problem that names element and field.

One way of reading what a client sends, for every route: an unknown name is refused and told which names there are,
because a misspelt `exclude_sen=true` that is silently ignored shows only in the lists.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from serving.web.problems import Problem

T = TypeVar("T", bound=msgspec.Struct)

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `(?P<path>\$.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>.*?)`")
_INDEX = re.compile(r"^\$\[(?P<index>\d+)\]")


class QueryReader:
    """Reads the query string of a GET as one Struct, whose fields are the parameters.

    >>> class Page(msgspec.Struct, forbid_unknown_fields=True):
    ...     n: int = 10
    ...     tag: list[str] = []
    >>> QueryReader(Page)(b"n=3&tag=a&tag=b")
    Page(n=3, tag=['a', 'b'])
    """

    def __init__(self, shape: type[T]) -> None:
        self.shape = shape
        self.names = shape.__struct_encode_fields__
        struct = msgspec.inspect.type_info(shape)
        assert isinstance(struct, msgspec.inspect.StructType)
        kinds = {field.encode_name: _plain(field.type) for field in struct.fields}
        self.lists = {name for name, kind in kinds.items() if isinstance(kind, msgspec.inspect.ListType)}

    def __call__(self, query: bytes) -> Any:
        """Raises `Problem` 422 where the query doesn't fit."""
        if not query:
            return self.shape()
        values: dict[str, Any] = {}
        try:
            # An invalid escape would become U+FFFD and answer for somebody else.
            pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
        except ValueError:
            raise Problem(422, "The query string is not percent-encoded UTF-8.") from None
        for name, value in pairs:
            if name in self.lists:
                values.setdefault(name, []).append(value)
            elif name in values:
                raise Problem(422, f"{name}: given more than once, and it takes one value", field=name)
            else:
                values[name] = value
        try:
            return msgspec.convert(values, self.shape, strict=False)
        except msgspec.ValidationError as error:
            raise explained(error, self.names, values) from None


def _plain(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """A type without its description."""
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


class BodyReader:
    """Reads a JSON body as one Struct."""

    def __init__(self, shape: type[T]) -> None:
        self.names = shape.__struct_encode_fields__
        self._decode = msgspec.json.Decoder(shape).decode

    def __call__(self, body: bytes) -> Any:
        """Raises `Problem` 400 for what is no JSON and 422 for what doesn't fit."""
        return decoded(self._decode, body, self.names)


def decoded(decode: Callable[[bytes], Any], body: bytes, names: tuple[str, ...]) -> Any:
    """`decode(body)`, with what goes wrong told as a `Problem`."""
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise explained(error, names) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None


def explained(
    error: msgspec.ValidationError, names: tuple[str, ...], values: Mapping[str, Any] | None = None
) -> Problem:
    """What msgspec found wrong, as a problem with the element's index and the field's name.

    >>> str(explained(msgspec.ValidationError("Expected `str`, got `float` - at `$[3].item`"), ("item",)))
    'element 3: item: expected str, got float'
    """
    found = _WHERE.match(str(error))
    assert found is not None
    what, path = found["what"], found["path"] or "$"
    place = _INDEX.match(path)
    index = int(place["index"]) if place else None
    field = path[place.end() if place else 1 :].removeprefix(".").replace("[...]", "") or None
    if unknown := _UNKNOWN.search(what):
        field = unknown["name"]
        text = f"there is no such name; there are {', '.join(names)}"
    elif missing := _MISSING.search(what):
        field = missing["name"]
        text = "is required"
    else:
        text = what.replace("`", "").replace("Expected", "expected", 1)
        if values and field is not None and field in values:
            text = f"{text.partition(', got ')[0]}, not {str(values[field])[:80]!r}"
    element = f"element {index}: " if index is not None else ""
    return Problem(422, f"{element}{field}: {text}" if field else f"{element}{text}", index=index, field=field)


async def read_body(scope: Mapping[str, Any], receive: Receive, most_bytes: int) -> bytes:
    """The whole body, but never more than `most_bytes`.

    Raises:
        Problem: 413 if it is larger, before the rest is read where the client says its size.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > most_bytes:
            raise _too_large(most_bytes)
    chunks = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "The client went away before the body was complete.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > most_bytes:
            raise _too_large(most_bytes)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(most_bytes: int) -> Problem:
    return Problem(
        413,
        f"The body is larger than {most_bytes} bytes (CORRENTE_MAX_BODY_BYTES). Send fewer events at once.",
        headers={"Connection": "close"},
    )
