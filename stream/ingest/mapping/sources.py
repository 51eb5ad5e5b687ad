"""Sources of fields: a path, the first of several paths that has a value, or a constant; with a unit of time.

This file decides how a source is checked, and which value it gives for a record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from stream.ingest.mapping.document import Document, Place, Scalar, Source, WrongMapping
from stream.ingest.mapping.paths import Path, WrongPath, list_of, parse_path, text_of_path
from stream.ingest.mapping.trees import Forest

UNITS: Mapping[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
"""Number of each unit in a second."""


@dataclass(frozen=True)
class FieldSource:
    """The checked source of a field.

    Attributes:
        paths: places to look at, in order; none for a constant.
        line: of the source in its document.
        constant: the value, if there are no paths.
        unit: number of the unit of a time in a second; None if the time is not in a unit of its own.
    """

    paths: tuple[Path, ...]
    line: int
    constant: Scalar | None = None
    unit: float | None = None

    @property
    def text(self) -> str:
        """The source as it is written.

        >>> FieldSource((parse_path("user.id"), parse_path("visitor")), 1).text
        'user.id, visitor'
        """
        return ", ".join(map(text_of_path, self.paths)) if self.paths else f"the constant {self.constant!r}"

    @property
    def of_element(self) -> bool:
        """True if a path leads into the list of which each element is an event."""
        return any(list_of(path) is not None for path in self.paths)

    def found(self, forest: Forest, tree: Any, element: Any) -> tuple[Any, Path | None]:
        """The value, and the path at which it stands; None and None if there is none."""
        for path in self.paths:
            value = forest.find(tree, path) if list_of(path) is None else forest.find_below(element, path)
            if value is not None and (value != "" or len(self.paths) == 1):
                return self._in_seconds(value), path
        return self.constant, None

    def value(self, forest: Forest, tree: Any, element: Any) -> Any:
        """The value; None if there is none."""
        return self.found(forest, tree, element)[0]

    def _in_seconds(self, value: Any) -> Any:
        if self.unit is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            try:
                return float(value) / self.unit
            except ValueError:
                return value  # a date needs no unit
        return value / self.unit if isinstance(value, int | float) else value


def path_at(document: Document, text: str, place: Place) -> Path:
    """A path of a document.

    Raises:
        WrongMapping: it is none.
    """
    try:
        return parse_path(text)
    except WrongPath as error:
        raise WrongMapping(f"{document.where(place)}: {error}") from None


def field_source(document: Document, written: str | Sequence[str] | Source, place: Place) -> FieldSource:
    """The source of a field, checked.

    Raises:
        WrongMapping: a path is none, the source is empty, or it is a path and a constant.
    """
    source = (
        Source(path=written if isinstance(written, str) else list(written))
        if not isinstance(written, Source)
        else written
    )
    paths = [source.path] if isinstance(source.path, str) else source.path or []
    if bool(paths) == (source.value is not None):
        raise WrongMapping(
            f"{document.where(place)}: {place[-1]} needs either a path or a constant ({{value: …}}), and has "
            f"{'both' if paths else 'neither'}"
        )
    if source.unit is not None and (place[-1] != "timestamp" or not paths):
        raise WrongMapping(f"{document.where(place)}: {place[-1]}: a unit belongs to the path of a timestamp alone")
    return FieldSource(
        tuple(path_at(document, path, place) for path in paths),
        document.line(place),
        source.value,
        UNITS[source.unit] if source.unit not in {None, "s"} else None,
    )
