"""Checks of a mapping on sample records: each record's events, with the path, value and reason of every field.

This file decides what is wrong with a mapping on samples (a path that no record has, a record that becomes a dead
letter), and what is doubtful (a condition that never holds). Mappings that are wrong by themselves are refused before
(`stream.ingest.mapping.plan`).

>>> from stream.ingest.mapping.plan import plan_of
>>> plan = plan_of("topics: {clicks: {fields: {item: product.skuu, user: visitor}}}", "shop.yaml")
>>> report = check_samples(plan.topics["clicks"], [{"product": {"sku": "tea"}, "visitor": 7}], "shop.yaml")
>>> report.problems[0]
"shop.yaml, line 1: item: no sample record has 'product.skuu'. Did you mean 'product.sku'?"
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from stream.events import Event, check_event
from stream.ingest.mapping.nearest import did_you_mean
from stream.ingest.mapping.paths import Path, dig, list_of, text_of_path
from stream.ingest.mapping.plan import Mapped, TopicPlan
from stream.ingest.mapping.rules import PreparedRule, Test
from stream.ingest.mapping.sources import UNITS, FieldSource
from stream.values import InvalidEvent

MOST_NAMED = 5
"""Values of a sample that a caution names."""


class FieldTrace(NamedTuple):
    """A field of an event: the path that was read, the value that came of it, and a reason if it isn't just that."""

    field: str
    path: str
    value: Any
    reason: str


class EventTrace(NamedTuple):
    """An event: its kind and its fields."""

    kind: str
    fields: list[FieldTrace]


class RecordTrace(NamedTuple):
    """A sample record: the rule that fits (None if none does), and its events or the reason why there are none.

    Attributes:
        number: of the record, from 1.
        rule, line: number of the rule, and its line in the mapping.
        outcome: `learned`, `dead_letters`, or `unlearned:` and the rule by which it is left out.
        reason: for an outcome that isn't `learned`.
        events: in their order.
    """

    number: int
    rule: int | None
    line: int | None
    outcome: str
    reason: str
    events: list[EventTrace]


class CheckReport(NamedTuple):
    """The events of the samples, and everything that is wrong or doubtful."""

    records: list[RecordTrace]
    problems: list[str]
    cautions: list[str]


def check_samples(plan: TopicPlan, records: Sequence[Mapping[str, Any]], name: str) -> CheckReport:
    """Apply a plan to sample records.

    Args:
        plan: of their topic.
        records: decoded.
        name: of the mapping's file, for messages.
    """
    traces = [_trace(plan, number, record) for number, record in enumerate(records, 1)]
    fitting: dict[int, list[Mapping[str, Any]]] = {rule.number: [] for rule in plan.rules}
    for trace, record in zip(traces, records, strict=True):
        if trace.rule is not None:
            fitting[trace.rule].append(record)
    read_by: dict[tuple[str, FieldSource], list[Mapping[str, Any]]] = {}
    problems, cautions = [], []
    known = sorted({path for record in records for path in _paths_in(record)})
    for rule in plan.rules:
        for test in rule.tests:
            values = [dig(record, test.path) for record in records]
            if all(value is None for value in values) and test.allowed is not None:
                problems.append(_unknown(name, test.line, "when", test.path, known))
            elif not any(map(test.holds, values)):
                cautions.append(f"{name}, line {test.line}: {_never(test, values)}")
        for field, source in (*rule.sources.items(), *([("kind", rule.kinds.source)] if rule.kinds.source else [])):
            read_by.setdefault((field, source), []).extend(fitting[rule.number])
        if not fitting[rule.number]:
            cautions.append(f"{name}, line {rule.line}: no sample record is read by rule {rule.number}")
    for (field, source), those in read_by.items():
        missing = [path for path in source.paths if not any(_has(each, path) for each in those)]
        if those and missing:
            unknown = [_unknown(name, source.line, field, path, known) for path in missing]
            (problems if len(missing) == len(source.paths) else cautions).extend(unknown)
    return CheckReport(traces, list(dict.fromkeys(problems)), list(dict.fromkeys(cautions)))


def _trace(plan: TopicPlan, number: int, record: Mapping[str, Any]) -> RecordTrace:
    tree = plan.forest.fill(record)
    rule: PreparedRule | None = None
    events: list[EventTrace] = []
    try:
        rule = next((each for each in plan.rules if each.fits(tree) and plan.knows_kind(each, tree)), None)
        mapped: Mapped = plan.read_tree(tree)
        if mapped.left_out:
            return _record(number, rule, f"unlearned:{mapped.left_out}", mapped.reason, events)
        if rule is not None:
            events = list(_events(plan, rule, tree))
        for event in mapped.events:
            check_event(event, math.inf)
    except InvalidEvent as error:
        return _record(number, rule, "dead_letters", str(error), events)
    return _record(number, rule, "learned", "", events)


def _record(number: int, rule: PreparedRule | None, outcome: str, reason: str, events: list[EventTrace]) -> RecordTrace:
    return RecordTrace(number, rule.number if rule else None, rule.line if rule else None, outcome, reason, events)


def _events(plan: TopicPlan, rule: PreparedRule, tree: Any) -> Iterator[EventTrace]:
    elements = plan.forest.find(tree, rule.list) if rule.list is not None else [None]
    for index, (event, element) in enumerate(zip(rule.events(tree), elements, strict=True)):
        if event is None:
            continue
        kind = rule.kinds.of(plan.forest, tree, element) or ""
        fields = [
            _field(plan, name, source, event, tree, element, index if rule.list is not None else None)
            for name, source in rule.sources.items()
            if name in event.__struct_fields__
        ]
        yield EventTrace(kind, fields)


def _field(
    plan: TopicPlan, name: str, source: FieldSource, event: Event, tree: Any, element: Any, index: int | None
) -> FieldTrace:
    value = getattr(event, name)
    _, path = source.found(plan.forest, tree, element)
    if not source.paths:
        return FieldTrace(name, "", value, "a constant")
    if path is None:
        return FieldTrace(name, source.text, value, "nothing there")
    reason = ""
    if len(source.paths) > 1:
        reason = f"number {source.paths.index(path) + 1} of {len(source.paths)} paths, the first with a value"
    if source.unit is not None and not isinstance(value, str):
        reason = f"in {next(unit for unit, size in UNITS.items() if size == source.unit)}, here in seconds"
    if name == "event_id" and index is not None and not source.of_element:
        reason = "the record's id and the number of the element"
    return FieldTrace(name, text_of_path(path, index), value, reason)


def _unknown(name: str, line: int, field: str, path: Path, known: Iterable[str]) -> str:
    text = text_of_path(path)
    return f"{name}, line {line}: {field}: no sample record has {text!r}. {did_you_mean(text, known)}"


def _never(test: Test, values: Sequence[Any]) -> str:
    path = text_of_path(test.path)
    if test.present is not None:
        return f"the condition on {path!r} never holds: it is {'missing' if test.present else 'there'} in every record"
    if test.allowed is None:
        return f"the condition on {path!r} never holds: every record has a value that it excludes"
    wanted = " or ".join(map(repr, test.allowed))
    found = ", ".join(list(dict.fromkeys(repr(value)[:40] for value in values if value is not None))[:MOST_NAMED])
    return f"the condition on {path!r} never holds: it wants {wanted}, and the sample has {found}"


def _has(record: Mapping[str, Any], path: Path) -> bool:
    """True if a record has a value at a path, in any element of its list."""
    below = list_of(path)
    if below is None:
        return dig(record, path) is not None
    elements = dig(record, below)
    rest = path[len(below) + 1 :]
    return isinstance(elements, list) and any(dig(element, rest) is not None for element in elements)


def _paths_in(value: Any, begin: tuple[Any, ...] = ()) -> Iterator[str]:
    """The paths of all values of a record."""
    if isinstance(value, dict):
        for name, below in value.items():
            yield from _paths_in(below, (*begin, name))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for element in value:
            yield from (f"{text_of_path(begin)}[].{path}" for path in _paths_in(element))
    elif begin:
        yield text_of_path(begin)
