"""Queries and bodies to Structs, and msgspec's errors to problems that name element and field.

This file decides how every route reads what a client sends. An unknown name is refused with a list of the known ones,
because a misspelt `exclude_sen=true` that is silently ignored would show only in the lists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from serving.web.problems import Problem
from serving.web.unknown_parameters import known_names

T = TypeVar("T", bound=msgspec.Struct)

_MESSAGE_AND_PATH = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>\$.*)`)?$", re.DOTALL)
_UNKNOWN = re.compile(r"unknown field `(?P<name>.*)`", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>.*?)`")
_INDEX = re.compile(r"^\$\[(?P<index>\d+)\]")


class QueryReader:
    """Reader of the query string of a GET as one Struct, whose fields are the parameters.

    Args:
        struct_type: frozen, because requests without a query share one instance.

    >>> class Page(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    ...     n: int = 10
    ...     tag: list[str] = []
    >>> QueryReader(Page)(b"n=3&tag=a&tag=b")
    Page(n=3, tag=['a', 'b'])
    """

    def __init__(self, struct_type: type[T]) -> None:
        self.struct_type = struct_type
        self.names = struct_type.__struct_encode_fields__
        struct = msgspec.inspect.type_info(struct_type)
        assert isinstance(struct, msgspec.inspect.StructType)
        kinds = {field.encode_name: _without_metadata(field.type) for field in struct.fields}
        self._defaults = struct_type()
        self.lists = {name for name, kind in kinds.items() if isinstance(kind, msgspec.inspect.ListType)}

    def __call__(self, query: bytes) -> Any:
        """The Struct. Raises `Problem` 422 if the query doesn't fit it."""
        if not query:
            return self._defaults
        values: dict[str, Any] = {}
        try:
            # Leniently decoded, an invalid escape would become U+FFFD and answer for another visitor.
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
            return msgspec.convert(values, self.struct_type, strict=False)
        except msgspec.ValidationError as error:
            raise to_problem(error, self.names, values) from None


def _without_metadata(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The type without its limits and description."""
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


class BodyReader:
    """Reader of a JSON body as one Struct."""

    def __init__(self, struct_type: type[T]) -> None:
        self.names = struct_type.__struct_encode_fields__
        self._decode = msgspec.json.Decoder(struct_type).decode

    def __call__(self, body: bytes) -> Any:
        """The Struct. Raises `Problem` 400 if the body is no JSON and 422 if it doesn't fit."""
        return decode_body(self._decode, body, self.names)


def decode_body(decode: Callable[[bytes], Any], body: bytes, names: tuple[str, ...]) -> Any:
    """`decode(body)`, with decoding errors raised as `Problem` 400 or 422.

    Args:
        decode: msgspec's decoder of the expected type.
        body: JSON as it was sent.
        names: the known fields, for the text of the problem.
    """
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise to_problem(error, names) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is not JSON: {error}.") from None


def to_problem(
    error: msgspec.ValidationError, names: tuple[str, ...], values: Mapping[str, Any] | None = None
) -> Problem:
    """A validation error of msgspec as a problem with the element's index and the field's name.

    Args:
        error: as msgspec raised it.
        names: the known fields.
        values: the query's parameters as they were sent, to quote the wrong one.

    >>> str(to_problem(msgspec.ValidationError("Expected `str`, got `float` - at `$[3].item`"), ("item",)))
    'element 3: item: expected str, got float'
    """
    found = _MESSAGE_AND_PATH.match(str(error))
    assert found is not None
    message, path = found["message"], found["path"] or "$"
    element_index = _INDEX.match(path)
    index = int(element_index["index"]) if element_index else None
    field = path[element_index.end() if element_index else 1 :].removeprefix(".").replace("[...]", "") or None
    if unknown := _UNKNOWN.search(message):
        field = unknown["name"]
        text = f"there is no such name; {known_names(field, names)}"
    elif missing := _MISSING.search(message):
        field = missing["name"]
        text = "is required"
    else:
        text = message.replace("`", "").replace("Expected", "expected", 1)
        if values and field is not None and field in values:
            text = f"{text.partition(', got ')[0]}, not {str(values[field])[:80]!r}"
    element = f"element {index}: " if index is not None else ""
    return Problem(422, f"{element}{field}: {text}" if field else f"{element}{text}", index=index, field=field)
