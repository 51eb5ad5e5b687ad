"""Record trees: the part of a producer's record that a topic's mapping reads, decoded in one step.

The paths of a mapping become Struct types that have exactly these fields, so the decoder of JSON skips everything else
and makes no dictionaries. Their leaves take any value; what a field may be is checked when an event is made of them. A
record of which a part has another form than the paths say (text where an object is expected, or null) is decoded whole,
and the tree is filled from that as far as it goes.

This file decides how a tree is laid out, decoded and filled, and how a value in it is found.

>>> from stream.ingest.mapping.paths import parse_path
>>> forest = Forest([parse_path("user.id"), parse_path("items[].sku")], constants=["click"])
>>> tree = forest.decode(b'{"user": {"id": 7, "age": 3}, "items": [{"sku": "a"}, {"sku": "b"}], "page": 1}')
>>> forest.find(tree, parse_path("user.id")), forest.find(tree, parse_path("user.age"))
(7, None)
>>> [forest.find_below(element, parse_path("items[].sku")) for element in forest.find(tree, parse_path("items"))]
['a', 'b']
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import msgspec

from stream.ingest.mapping.paths import Each, Path, Step, dig, list_of

NOTHING = "nothing_"
"""Attribute of every tree that is None."""

OWN = "corrente"
"""Field of a record that is ours: what the HTTP server adds, or a whole event in our own form."""


class _Node:
    """One place of a record.

    Attributes:
        names: places below it, by the name of the field.
        element: the place of each element, if it is a list that is cut into events.
        whole: True if the value is needed as it is: it is a leaf, or one element of a list is chosen in it.
    """

    def __init__(self) -> None:
        self.names: dict[str, _Node] = {}
        self.element: _Node | None = None
        self.whole = False
        self.type: Any = Any

    def add(self, path: Sequence[Step]) -> None:
        if not path:
            self.whole = True
        elif isinstance(path[0], str):
            self.names.setdefault(path[0], _Node()).add(path[1:])
        elif isinstance(path[0], Each):
            self.element = self.element or _Node()
            self.element.add(path[1:])
        else:
            self.whole = True

    def make_type(self, namespace: dict[str, Any]) -> Any:
        """The type of the value, which is kept; Any if it is needed whole, or is a list and an object as well."""
        if self.element is not None and not self.whole and not self.names:
            self.type = list[self.element.make_type(namespace)] | None  # type: ignore[misc]  # made at run time
        elif self.names and not self.whole and self.element is None:
            fields = [(f"f{n}", node.make_type(namespace) | None, None) for n, node in enumerate(self.names.values())]
            rename = {f"f{number}": name for number, name in enumerate(self.names)}
            self.type = msgspec.defstruct("Tree", fields, rename=rename, namespace=dict(namespace), gc=False)
        return self.type

    @property
    def is_struct(self) -> bool:
        return isinstance(self.type, type) and issubclass(self.type, msgspec.Struct)


class Forest:
    """The trees of one topic's records.

    Args:
        paths: everything that is read.
        constants: values that every tree has, as the attributes `constant0`, `constant1` and so on.
    """

    def __init__(self, paths: Iterable[Path], constants: Sequence[Any] = ()) -> None:
        self._root = _Node()
        self._root.add((OWN,))
        for path in paths:
            self._root.add(path)
        namespace = {NOTHING: None, **{f"constant{number}": value for number, value in enumerate(constants)}}
        kind = self._root.make_type(namespace)
        self.decode_strictly = msgspec.json.Decoder(kind).decode
        """`decode` for a record whose parts have the form of the paths; raises `msgspec.ValidationError` otherwise."""
        self._trees: Any = list[kind]  # type: ignore[valid-type]  # made at run time
        self._decode_any = msgspec.json.Decoder(dict[str, Any]).decode

    def decode(self, value: bytes | str) -> Any:
        """The tree of a record.

        Raises:
            msgspec.DecodeError: the record is no JSON object.
        """
        try:
            return self.decode_strictly(value)
        except msgspec.ValidationError:
            return self.fill(self._decode_any(value))

    def convert_strictly(self, records: Sequence[Mapping[str, Any]]) -> Any:
        """The trees of decoded records whose parts have the form of the paths.

        Raises:
            msgspec.ValidationError: a part of one has another form.
        """
        return msgspec.convert(records, self._trees)

    @property
    def names(self) -> tuple[str, ...]:
        """Fields of a record that are read, in whole or in part."""
        return tuple(self._root.names)

    def fill(self, record: Mapping[str, Any]) -> Any:
        """The tree of a decoded record; parts of another form than the paths say are None."""
        return _filled(self._root, record)

    def attribute(self, path: Path) -> str | None:
        """The dotted attribute of a tree, or of an element of its list, that holds the value; None if none does."""
        node, names = self._root, []
        below = list_of(path)
        if below is not None:
            for step in (*below, Each()):
                found = node.names.get(step) if isinstance(step, str) else node.element
                if found is None:
                    return None
                node = found
        for step in path if below is None else path[len(below) + 1 :]:
            if not isinstance(step, str) or not node.is_struct:
                return None
            names.append(f"f{list(node.names).index(step)}")
            node = node.names[step]
        return ".".join(names) or None

    def find(self, tree: Any, path: Path) -> Any:
        """The value at a path without `[]`; None if there is nothing."""
        return _found(self._root, tree, path)

    def find_below(self, element: Any, path: Path) -> Any:
        """The value of an element of the list that a path names; None if there is nothing."""
        node = self._root
        below = list_of(path) or ()
        for step in (*below, Each()):
            found = node.names.get(step) if isinstance(step, str) else node.element
            if found is None or not (node.is_struct or isinstance(step, Each)):
                return dig(element, path[len(below) + 1 :])
            node = found
        return _found(node, element, path[len(below) + 1 :])


def getter(names: Sequence[str | None]) -> Any:
    """A function from a tree to the values of these attributes, a tuple; None for one without a name."""
    padded = [name or NOTHING for name in names]
    return attrgetter(*padded, *([NOTHING] if len(padded) == 1 else []))  # one name alone would give no tuple


def _found(node: _Node, value: Any, path: Sequence[Step]) -> Any:
    for number, step in enumerate(path):
        if value is None:
            return None
        if not node.is_struct or not isinstance(value, msgspec.Struct):
            return dig(value, path[number:])
        if not isinstance(step, str) or step not in node.names:
            return None
        value = getattr(value, f"f{list(node.names).index(step)}")
        node = node.names[step]
    return value


def _filled(node: _Node, value: Any) -> Any:
    if node.is_struct:
        if not isinstance(value, dict):
            return None
        parts = (_filled(below, value.get(name)) for name, below in node.names.items())
        return node.type(**{f"f{number}": part for number, part in enumerate(parts)})
    if node.element is not None and not node.whole and not node.names:
        return [_filled(node.element, each) for each in value] if isinstance(value, list) else value
    return value
