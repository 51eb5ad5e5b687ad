"""Plans: a mapping, ready to be applied to records. No YAML and no path is read after the start.

This file decides how a document becomes a plan, which mappings are refused, and what a record becomes: events, or
nothing on purpose, or a reason. One plan serves Kafka, HTTP and files.

>>> plan = plan_of("topics: {clicks: {fields: {item: product.sku, user: visitor}}}", "shop.yaml")
>>> plan.topics["clicks"].read(b'{"product": {"sku": "tea"}, "visitor": 7, "page": 1}').events[0].item
'tea'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from stream.events import TOPIC_TYPES, Event
from stream.ingest.mapping.document import (
    Condition,
    Document,
    KindTable,
    Place,
    Rule,
    Topic,
    WrongMapping,
    read_document,
)
from stream.ingest.mapping.nearest import did_you_mean
from stream.ingest.mapping.paths import Path, list_of, text_of_path
from stream.ingest.mapping.rules import TOPIC_OF_KIND, Kinds, PreparedRule, Test, constants_of
from stream.ingest.mapping.sources import FieldSource, field_source, path_at
from stream.ingest.mapping.trees import OWN, Forest
from stream.values import InvalidEvent

__all__ = ["EMPTY_LIST", "EVENT", "OWN", "UNMAPPED", "Mapped", "MappingPlan", "TopicPlan", "WrongMapping", "plan_of"]

UNMAPPED = "unmapped"
"""Rule by which a record, or an element of its list, is left out that no rule of the mapping fits."""
EMPTY_LIST = "empty_list"
"""Rule by which a record is left out whose list has no element."""

KIND_OF_TOPIC: Mapping[str, str] = {"clicks": "click", "purchases": "purchase"}
"""Kind of the events of a topic whose rules name none; feedback needs one."""

EVENT = "event"
"""Field of `corrente` with a whole event in our own form."""


class Mapped(NamedTuple):
    """A record as a mapping reads it.

    Attributes:
        events: in the order of the record; none if it is left out.
        left_out: name of the rule by which the record is left out, else empty.
        reason: the reason for that.
        unmapped: number of elements of its list that are left out, because no rule fits them.
        several: True if the record was cut into events along a list.
    """

    events: list[Event]
    left_out: str = ""
    reason: str = ""
    unmapped: int = 0
    several: bool = False


class TopicPlan:
    """The plan for the records of one topic.

    Attributes:
        topic: our name.
        rules: in the order in which they are tried.
        leaves_out: True if a record that no rule fits is left out, False if it is a dead letter.
        cuts: True if a record may become several events.
        at_home: True if every record is read by one rule, whose events are of the topic's own kind.
        decode_directly: makes the event of a record that is one with other names; None if the rules do more than that.
            It raises an error of msgspec for a record that needs a closer look.
    """

    def __init__(self, topic: str, rules: Sequence[PreparedRule], forest: Forest, *, leaves_out: bool) -> None:
        self.topic = topic
        self.rules = tuple(rules)
        self.forest = forest
        self.leaves_out = leaves_out
        self.cuts = any(rule.list is not None for rule in rules)
        self._always = rules[0] if rules and not rules[0].tests and rules[0].kinds.source is None else None
        self._flat = self._always if self._always is not None and self._always.flat else None
        self.at_home = self._flat is not None and self._flat.home == topic
        direct: Any = self._flat.direct if self._flat is not None else None
        self.decode_directly = msgspec.json.Decoder(direct).decode if direct else None
        self._direct_list: Any = list[direct] if direct else None

    def read(self, value: bytes | str | None) -> Mapped:
        """The events of a record, as JSON.

        Raises:
            InvalidEvent: the record can't be mapped.
            msgspec.DecodeError, UnicodeDecodeError: it is no JSON object.
        """
        if value is None:
            return self._unmapped("the record is empty (a tombstone)")
        return self.read_tree(self.forest.decode(value))

    def read_flat(self, values: Sequence[Any]) -> list[Event] | None:
        """The event of each record, if one rule of plain paths reads all of them; None if any needs a closer look.

        Raises:
            Exception: whatever a record raises that can't be decoded; which one it is has to be looked for.
        """
        if self._flat is None:
            return None
        if self.decode_directly is not None:
            try:
                return list(map(self.decode_directly, values))
            except msgspec.ValidationError:
                return None
        return self._flat.events_at_once(list(map(self.forest.decode_strictly, values)))

    def read_flat_fields(self, records: Sequence[Mapping[str, Any]]) -> list[Event] | None:
        """The event of each decoded record, as `read_flat`."""
        if self._flat is None:
            return None
        if self._direct_list is not None:
            try:
                found: list[Event] = msgspec.convert(records, self._direct_list)
            except msgspec.ValidationError:
                return None
            return found
        return self._flat.events_at_once(self.forest.convert_strictly(records))

    def read_fields(self, record: Mapping[str, Any]) -> Mapped:
        """The events of a decoded record, or of a row of a table by its columns. Raises as `read`."""
        return self.read_tree(self.forest.fill(record))

    def read_tree(self, tree: Any) -> Mapped:
        """The events of a record that is decoded by the plan's forest. Raises as `read`."""
        if self._always is not None and self._always.list is None and tree.f0 is None:
            return Mapped(self._always.events(tree))  # type: ignore[arg-type]  # its kind is known
        own = self.forest.find(tree, (OWN,))
        if isinstance(own, dict) and EVENT in own:
            return Mapped([self._own_event(own[EVENT])])
        for rule in self.rules:
            if not (rule.fits(tree) and self.knows_kind(rule, tree)):
                continue
            found = rule.events(tree)
            events = [event for event in found if event is not None]
            several = rule.list is not None
            if not found:
                return Mapped([], EMPTY_LIST, f"mapping: {text_of_path(rule.list or ())}[] is empty", several=True)
            unmapped = len(found) - len(events)
            if unmapped:
                if not self.leaves_out:
                    number = found.index(None)
                    path = text_of_path(rule.kinds.source.paths[0], number) if rule.kinds.source else ""
                    raise InvalidEvent(f"mapping: no kind is named for the value at {path} (line {rule.kinds.line})")
                if not events:
                    why = "mapping: no element of the list has a known kind"
                    return Mapped([], UNMAPPED, why, unmapped, several=True)
            return Mapped(events, unmapped=unmapped, several=several)
        return self._unmapped(f"no rule of {self.topic} fits the record")

    def knows_kind(self, rule: PreparedRule, tree: Any) -> bool:
        """True unless a value of the record decides the kind, and the rule has no kind for it."""
        source = rule.kinds.source
        return source is None or source.of_element or rule.kinds.of(self.forest, tree, None) is not None

    def _unmapped(self, why: str) -> Mapped:
        if self.leaves_out:
            return Mapped([], UNMAPPED, f"mapping: {why}")
        raise InvalidEvent(f"mapping: {why}; add a rule, or `otherwise: leave_out` if such records are no events")

    def _own_event(self, fields: Any) -> Event:
        """An event in our own form, which any mapped topic takes."""
        given = dict(fields) if isinstance(fields, dict) else {}
        kind = given.pop("kind", KIND_OF_TOPIC.get(self.topic))
        topic = TOPIC_OF_KIND.get(str(kind), "feedback")
        given |= {"kind": kind} if topic == "feedback" else {}
        try:
            event: Event = msgspec.convert(given, TOPIC_TYPES[topic])
        except msgspec.ValidationError as error:
            raise InvalidEvent(f"{OWN}: {EVENT}: {error}") from None
        return event


class MappingPlan(NamedTuple):
    """A whole mapping.

    Attributes:
        name: of its file.
        topics: plan of each mapped topic, by our name; other topics have events in our own form.
        document: that it was made of.
    """

    name: str
    topics: Mapping[str, TopicPlan]
    document: Document


def plan_of(text: str, name: str) -> MappingPlan:
    """The plan of a mapping.

    Args:
        text: the document.
        name: of its file, for messages.

    Raises:
        WrongMapping: it can't be used; the message names the line.
    """
    document = read_document(text, name)
    return MappingPlan(name, {topic: _topic_plan(document, topic) for topic in document.topics}, document)


class _Draft(NamedTuple):
    line: int
    tests: list[Test]
    kinds: Kinds
    sources: dict[str, FieldSource]


def _topic_plan(document: Document, topic: str) -> TopicPlan:
    described = document.topics[topic]
    place: Place = ("topics", topic)
    if described.rules is None:
        drafts = [_draft(document, topic, described, Rule(), place)]
    else:
        if not described.rules:
            raise WrongMapping(f"{document.where((*place, 'rules'))}: {topic} has an empty list of rules")
        drafts = [
            _draft(document, topic, described, rule, (*place, "rules", number))
            for number, rule in enumerate(described.rules)
        ]
    for number, draft in enumerate(drafts[:-1]):
        if not draft.tests and draft.kinds.source is None:
            raise WrongMapping(
                f"{document.name}, line {draft.line}: rule {number + 1} of {topic} fits every record, so those behind "
                "it are never tried; give it a condition (when), or put it last"
            )
    constants = [constant for draft in drafts for constant in constants_of(draft.kinds, draft.sources)]
    paths: list[Path] = [test.path for draft in drafts for test in draft.tests]
    for draft in drafts:
        sources = [*draft.sources.values(), *([draft.kinds.source] if draft.kinds.source else [])]
        paths += [path for source in sources for path in source.paths]
    forest = Forest(paths, constants)
    rules = [PreparedRule(number, *draft, forest, constants) for number, draft in enumerate(drafts, 1)]
    return TopicPlan(topic, rules, forest, leaves_out=described.otherwise == "leave_out")


def _draft(document: Document, topic: str, described: Topic, rule: Rule, place: Place) -> _Draft:
    """A rule together with what its topic says for all rules, checked."""
    kinds = _kinds(document, topic, described, rule, place)
    topics = {TOPIC_OF_KIND.get(kind, "feedback") for kind in kinds.all}
    of_events = {field for each in topics for field in TOPIC_TYPES[each].__struct_fields__} - {"kind"}
    known = {field for each in TOPIC_TYPES.values() for field in each.__struct_fields__} - {"kind"}
    sources: dict[str, FieldSource] = {}
    for of_topic, (fields, at) in enumerate(((rule.fields, place), (described.fields, ("topics", topic)))):
        for field, written in fields.items():
            here = (*at, "fields", field)
            if field not in known:
                if field == "kind":
                    raise WrongMapping(f"{document.where(here)}: kind stands beside fields, not in it")
                raise WrongMapping(
                    f"{document.where(here)}: no event has a field {field!r}. {did_you_mean(field, known)}"
                )
            if field not in of_events and not of_topic:
                raise WrongMapping(
                    f"{document.where(here)}: events of the kind {' or '.join(sorted(kinds.all))} have no {field!r}. "
                    f"{did_you_mean(field, of_events)}"
                )
            if field in of_events and field not in sources:
                sources[field] = field_source(document, written, here)
    line = document.line(place)
    if "item" not in sources:
        raise WrongMapping(f"{document.name}, line {line}: no source for item; every event is about one")
    if "user" not in sources and "session" not in sources:
        raise WrongMapping(f"{document.name}, line {line}: no source for user or session; every event has a visitor")
    _check_one_list(document, kinds, sources)
    tests = [_test(document, path, condition, (*place, "when", path)) for path, condition in rule.when.items()]
    return _Draft(line, tests, kinds, sources)


def _check_one_list(document: Document, kinds: Kinds, sources: Mapping[str, FieldSource]) -> None:
    """Raises `WrongMapping` if the paths of a rule lead into two lists."""
    first: tuple[str, Path] | None = None
    for field, source in {**sources, **({"kind": kinds.source} if kinds.source else {})}.items():
        for path in source.paths:
            found = list_of(path)
            if found is None:
                continue
            if first is not None and first[1] != found:
                raise WrongMapping(
                    f"{document.name}, line {source.line}: {field} is read from {text_of_path(found)}[], and "
                    f"{first[0]} from {text_of_path(first[1])}[]; a rule cuts a record along one list"
                )
            first = field, found
    if first is not None and not sources["item"].of_element:
        raise WrongMapping(
            f"{document.name}, line {sources['item'].line}: item is not read from {text_of_path(first[1])}[] as "
            f"{first[0]} is, so all events of a record would be about one item"
        )


def _kinds(document: Document, topic: str, described: Topic, rule: Rule, place: Place) -> Kinds:
    kind, at = (rule.kind, place) if rule.kind is not None else (described.kind, ("topics", topic))
    at = (*at, "kind")
    if kind is None:
        if topic not in KIND_OF_TOPIC:
            raise WrongMapping(
                f"{document.where(place)}: no kind; a rule of feedback names one, such as view, cart, like or rating"
            )
        return Kinds(document.line(place), KIND_OF_TOPIC[topic])
    if not isinstance(kind, KindTable):
        return Kinds(document.line(at), kind)
    if not kind.values:
        raise WrongMapping(f"{document.where(at)}: the table of kinds is empty, such as values: {{add_to_cart: cart}}")
    for value, each in kind.values.items():
        if not 1 <= len(each) <= 64:
            raise WrongMapping(f"{document.where((*at, 'values', value))}: a kind has 1 to 64 characters")
    source = FieldSource((path_at(document, kind.path, (*at, "path")),), document.line(at))
    return Kinds(document.line(at), "", source, kind.values, kind.otherwise)


def _test(document: Document, path: str, condition: Any, place: Place) -> Test:
    parsed = path_at(document, path, place)
    if list_of(parsed) is not None:
        raise WrongMapping(f"{document.where(place)}: a condition is about the record, so {path!r} can't have []")
    line = document.line(place)
    if isinstance(condition, Condition):
        if (condition.is_not is None) == (condition.present is None):
            raise WrongMapping(f"{document.where(place)}: name either is_not or present")
        return Test(parsed, None, tuple(condition.is_not or ()), condition.present, line)
    allowed = tuple(condition) if isinstance(condition, list) else (condition,)
    if not allowed:
        raise WrongMapping(f"{document.where(place)}: an empty list of values never holds")
    return Test(parsed, allowed, (), None, line)
