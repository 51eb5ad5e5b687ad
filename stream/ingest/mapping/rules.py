"""Rules: events of one record, made of its tree.

A rule is prepared once, when its mapping is read. All plain paths of an event are read by one call of `attrgetter`,
which runs in C, and the values become an event of our types by one call of msgspec, which checks them. A value that
needs more (an alternative, a unit of time, one element of a list) is put in afterwards.

This file decides whether a rule fits a record, which events the record becomes, and the reason if it becomes none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from stream.events import TOPIC_TYPES, Event, text_of
from stream.ingest.mapping.direct import direct_type
from stream.ingest.mapping.document import Scalar
from stream.ingest.mapping.paths import Path, list_of, text_of_path
from stream.ingest.mapping.sources import FieldSource
from stream.ingest.mapping.trees import Forest, getter
from stream.values import NO_CONSENT, InvalidEvent

TOPIC_OF_KIND: Mapping[str, str] = {"click": "clicks", "purchase": "purchases"}
"""Our topic of a kind; all others are feedback."""

MOST_EVENTS = 1000
"""Most events of one record."""


_own = attrgetter("f0")
"""The field of a tree that is ours."""


def mapped_type(event_type: type[Event]) -> type[Event]:
    """The event type as msgspec makes it of the values of its fields in their order."""
    fields = [
        (each.name, each.type) if each.required else (each.name, each.type, each.default)
        for each in msgspec.structs.fields(event_type)
    ]
    made: Any = msgspec.defstruct(event_type.__name__, fields, bases=(event_type,), array_like=True, kw_only=True)
    return made


MAPPED_TYPES: Mapping[str, type[Event]] = {topic: mapped_type(kind) for topic, kind in TOPIC_TYPES.items()}
"""Types of the events that mappings make, by our topic. Their instances are instances of ours."""


class Test(NamedTuple):
    """One condition of a rule.

    Attributes:
        path: of the value.
        allowed: values that it may have; None if any.
        refused: values that it may not have.
        present: True or False if it has to be there, or to be missing.
        line: in the document.
    """

    path: Path
    allowed: tuple[Scalar, ...] | None
    refused: tuple[Scalar, ...]
    present: bool | None
    line: int

    def holds(self, value: Any) -> bool:
        """True if the condition holds for this value. A number is no text, and `true` is not 1."""
        if self.present is not None:
            return (value is not None) == self.present
        if self.allowed is not None:
            return any(_equal(value, each) for each in self.allowed)
        return not any(_equal(value, each) for each in self.refused)


def _equal(value: Any, other: Scalar) -> bool:
    return value == other and isinstance(value, bool) == isinstance(other, bool)


@dataclass(frozen=True)
class Kinds:
    """The kind of a rule's events: one for all, or by a value.

    Attributes:
        line: in the document.
        constant: the kind of all events; empty if a value decides.
        source: of that value.
        table: kind by the value; a number stands there as text, `true` as "true".
        otherwise: kind for other values; None if the rule doesn't fit them.
    """

    line: int
    constant: str = ""
    source: FieldSource | None = None
    table: Mapping[str, str] = field(default_factory=dict)
    otherwise: str | None = None

    @property
    def all(self) -> set[str]:
        """Every kind that may come out."""
        return (
            {self.constant} if self.constant else {*self.table.values(), *([self.otherwise] if self.otherwise else [])}
        )

    def of(self, forest: Forest, tree: Any, element: Any) -> str | None:
        """The kind of an event; None if its value has none."""
        if self.source is None:
            return self.constant
        value = self.source.value(forest, tree, element)
        if not isinstance(value, str | int):
            return self.otherwise
        return self.table.get(str(value).lower() if isinstance(value, bool) else str(value), self.otherwise)


class _Variant(NamedTuple):
    """The rule's way to events of one of our types.

    Attributes:
        event_type: as `MAPPED_TYPES` has it.
        types: a list of such events.
        fields: names of its fields, in the order of the values.
        of_record: from a tree to all values of an event, those of the element left out.
        of_element: from an element to its values; None if there are none.
        element_places: places of these among the fields.
        others: place and source of each value that needs more than an attribute.
        kind_place: place of the kind; -1 for a type that has none.
    """

    event_type: type[Event]
    types: Any
    fields: tuple[str, ...]
    of_record: Callable[[Any], tuple[Any, ...]]
    of_element: Callable[[Any], tuple[Any, ...]] | None
    element_places: tuple[int, ...]
    others: tuple[tuple[int, FieldSource], ...]
    kind_place: int


class PreparedRule:
    """One rule, ready to make events.

    Args:
        number: of the rule in its topic, from 1.
        line: in the document.
        tests: its conditions.
        kinds: the kind of its events.
        sources: by our field.
        forest: the trees of the topic's records, with the constants of `constants_of`.
        constants: in the order of the forest's.
    """

    def __init__(
        self,
        number: int,
        line: int,
        tests: Sequence[Test],
        kinds: Kinds,
        sources: Mapping[str, FieldSource],
        forest: Forest,
        constants: Sequence[Scalar],
    ) -> None:
        self.number = number
        self.line = line
        self.tests = tuple(tests)
        self.kinds = kinds
        self.sources = dict(sources)
        lists = {list_of(path) for source in (*sources.values(), kinds.source) if source for path in source.paths}
        self.list = next((each for each in lists if each is not None), None)
        self._forest = forest
        self._ids_of_elements = "event_id" in sources and sources["event_id"].of_element
        topics = {TOPIC_OF_KIND.get(kind, "feedback") for kind in kinds.all}
        self._variants = {topic: self._variant(topic, constants) for topic in topics}
        self._only = next(iter(self._variants.values())) if kinds.source is None else None
        self._plain = self._only if self._only and self.list is None and not self._only.others else None
        self.direct = direct_type(next(iter(topics)), sources, kinds.constant) if self._plain else None
        """Type of events that a record is decoded to, if the rule only gives fields other names."""

    def _variant(self, topic: str, constants: Sequence[Scalar]) -> _Variant:
        event_type = MAPPED_TYPES[topic]
        fields = event_type.__struct_fields__
        of_record: list[str | None] = [None] * len(fields)
        element_names: list[str] = []
        element_places: list[int] = []
        others: list[tuple[int, FieldSource]] = []
        for place, name in enumerate(fields):
            source = self.sources.get(name)
            if name == "kind" and self.kinds.constant:
                of_record[place] = f"constant{place_of(constants, self.kinds.constant)}"
            if source is None:
                continue
            attribute = self._forest.attribute(source.paths[0]) if len(source.paths) == 1 else None
            if not source.paths and source.constant is not None:
                of_record[place] = f"constant{place_of(constants, source.constant)}"
            elif attribute is None or source.unit is not None:
                others.append((place, source))
            elif source.of_element:
                element_names.append(attribute)
                element_places.append(place)
            else:
                of_record[place] = attribute
        return _Variant(
            event_type=event_type,
            fields=fields,
            types=list[event_type],  # type: ignore[valid-type]  # made at run time
            of_record=getter(of_record),
            of_element=getter(element_names) if element_names else None,
            element_places=tuple(element_places),
            others=tuple(others),
            kind_place=fields.index("kind") if "kind" in fields and not self.kinds.constant else -1,
        )

    @property
    def flat(self) -> bool:
        """True if every record becomes one event of one type, by plain paths alone."""
        return self._plain is not None

    @property
    def home(self) -> str:
        """Our topic of the events of a flat rule."""
        return next(iter(self._variants))

    def events_at_once(self, trees: Sequence[Any]) -> list[Event] | None:
        """The event of each tree of a flat rule; None if a value needs a closer look."""
        plain = self._plain
        assert plain is not None
        if any(map(_own, trees)):
            return None
        try:
            return msgspec.convert(list(map(plain.of_record, trees)), plain.types)
        except (AttributeError, msgspec.ValidationError):
            return None

    def fits(self, tree: Any) -> bool:
        """True if all conditions hold for a record."""
        return all(test.holds(self._forest.find(tree, test.path)) for test in self.tests)

    def events(self, tree: Any) -> list[Event | None]:
        """The events of a record that the rule fits; empty if its list is. None stands for one of no known kind.

        Raises:
            InvalidEvent: a field has no value, or one of the wrong type; or the list is none, or too long.
        """
        if self._plain is not None and _own(tree) is None:
            try:
                return [msgspec.convert(self._plain.of_record(tree), self._plain.event_type)]
            except (AttributeError, msgspec.ValidationError):
                pass  # a part of a path is missing, or a value has another type: looked at below, one by one
        if self.list is None:
            return [self._event(tree, None, None)]
        elements = self._forest.find(tree, self.list)
        written = f"{text_of_path(self.list)}[]"
        if not isinstance(elements, list):
            found = "nothing there" if elements is None else f"{type(elements).__name__} instead of a list"
            raise InvalidEvent(f"mapping: {written}: {found}; rule {self.number} makes an event of each element")
        if len(elements) > MOST_EVENTS:
            raise InvalidEvent(
                f"mapping: {written}: {len(elements)} elements; a record becomes at most {MOST_EVENTS} events"
            )
        return [self._event(tree, element, index) for index, element in enumerate(elements)]

    def _event(self, tree: Any, element: Any, index: int | None) -> Event | None:
        """The event of a record, or of one element; None if its value has no kind."""
        variant, kind = self._only, self.kinds.constant
        if variant is None:
            found = self.kinds.of(self._forest, tree, element)
            if found is None:
                return None
            variant, kind = self._variants[TOPIC_OF_KIND.get(found, "feedback")], found
        values = self._values(variant, tree, element, index)
        if variant.kind_place >= 0:
            values[variant.kind_place] = kind
        try:
            return msgspec.convert(values, variant.event_type)
        except msgspec.ValidationError:
            raise InvalidEvent(self._reason(variant, values, index)) from None

    def _values(self, variant: _Variant, tree: Any, element: Any, index: int | None) -> list[Any]:
        try:
            values = list(variant.of_record(tree))
            if variant.of_element is not None:
                for place, value in zip(variant.element_places, variant.of_element(element), strict=False):
                    values[place] = value
            others = variant.others
        except AttributeError:  # an object on the way is missing, or has another form
            values = [None] * len(variant.fields)
            if "kind" in variant.fields:
                values[variant.fields.index("kind")] = self.kinds.constant
            others = tuple(
                (variant.fields.index(name), source) for name, source in self.sources.items() if name in variant.fields
            )
        for place, source in others:
            values[place] = source.value(self._forest, tree, element)
        own = _own(tree)
        id_place = variant.fields.index("event_id")
        of_record = not self._ids_of_elements
        if isinstance(own, dict):  # what the HTTP server adds to a record that has none
            for name in ("event_id", "timestamp"):
                place = variant.fields.index(name)
                if values[place] is None:
                    values[place] = own.get(name)
                    of_record = of_record or name == "event_id"
            place = variant.fields.index("consent")
            if own.get("consent") is not None and str(values[place]).strip() != NO_CONSENT:
                values[place] = own["consent"]  # of a visitor who wants no profiling
        if index is not None and of_record:
            identifier = values[id_place]
            if isinstance(identifier, str | int) and not isinstance(identifier, bool):
                values[id_place] = f"{text_of(identifier)}#{index}"
        return values

    def _reason(self, variant: _Variant, values: Sequence[Any], index: int | None) -> str:
        """The first field that has no value, or one of the wrong type, and its path."""
        for each, value in zip(msgspec.structs.fields(variant.event_type), values, strict=True):
            source = self.sources.get(each.name)
            where = ", ".join(text_of_path(path, index) for path in source.paths) if source is not None else ""
            place = f" at {where} (rule {self.number} of the mapping, line {self.line})" if where else ""
            if value is None and each.required:
                return f"{each.name}: nothing{place}"
            try:
                msgspec.convert(value, each.type)
            except msgspec.ValidationError as error:
                return f"{each.name}: {error}{place}"
        return "mapping: the values fit no event"


def constants_of(kinds: Kinds, sources: Mapping[str, FieldSource]) -> list[Scalar]:
    """The constants of a rule, which its trees have to hold."""
    found = [source.constant for source in sources.values() if not source.paths and source.constant is not None]
    return [*found, *([kinds.constant] if kinds.constant else [])]


def place_of(constants: Sequence[Scalar], constant: Scalar) -> int:
    """The place of a constant; `1`, `1.0` and `true` are three."""
    return next(place for place, each in enumerate(constants) if type(each) is type(constant) and each == constant)
