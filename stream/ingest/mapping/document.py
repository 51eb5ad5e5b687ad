r"""Mapping documents: YAML, checked, with the line of every part.

This file decides the form of a document, and how YAML is read: the values of YAML 1.2's core schema, so that `no` and
`on` are words; no key twice; no anchors and aliases. Its meaning is decided in `stream.ingest.mapping.plan`.

>>> document = read_document("topics:\n  clicks:\n    fields: {item: sku, user: id}\n", "shop.yaml")
>>> document.topics["clicks"].fields, document.line(("topics", "clicks", "fields"))
({'item': 'sku', 'user': 'id'}, 3)
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from stream.events import TOPIC_TYPES
from stream.ingest.mapping.nearest import did_you_mean

MOST_CHARACTERS = 1_048_576

Scalar = str | int | float | bool
Place = tuple[str | int, ...]
"""Keys and numbers that lead to a part of a document."""


class WrongMapping(ValueError):
    """A mapping that can't be used. Each line of the message says where, what is wrong and what would be right."""


class Source(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The source of a field: a path, or several of which the first with a value counts; or a constant."""

    path: str | list[str] | None = None
    unit: Literal["s", "ms", "us", "ns"] | None = None
    value: Scalar | None = None


class Condition(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A condition on the value at a path, beside a value or a list of values that it may have."""

    is_not: list[Scalar] | None = None
    present: bool | None = None


class KindTable(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Kinds by the value at a path. Other values are of the kind `otherwise`; without it, no rule fits them."""

    path: str
    values: dict[str, str]
    otherwise: str | None = None


Kind = Annotated[str, msgspec.Meta(min_length=1, max_length=64)] | KindTable
Values = Scalar | list[Scalar] | Condition
Sources = dict[str, str | list[str] | Source]


class Rule(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Events of the records for which all conditions hold: conditions and sources by path and by our field."""

    when: dict[str, Any] = {}
    kind: Any = None
    fields: dict[str, Any] = {}


class Topic(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Rules for the records of a topic, of which the first that fits counts; fields and kind of all rules."""

    kind: Any = None
    fields: dict[str, Any] = {}
    rules: list[Any] | None = None
    otherwise: Literal["dead_letter", "leave_out"] = "dead_letter"


class _Root(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    topics: dict[str, Any]
    description: str = ""


class Document(msgspec.Struct, frozen=True):
    """A checked document.

    Attributes:
        name: of its file, for messages.
        topics: by our name of the topic.
        description: as it is written.
        lines: line of each part.
    """

    name: str
    topics: Mapping[str, Topic]
    description: str
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """The line of a part, or of the nearest part around it that has one."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def where(self, place: Place) -> str:
        """The beginning of a message about a part: file and line."""
        return f"{self.name}, line {self.line(place)}"


def read_document(text: str, name: str) -> Document:
    """Read and check a document.

    Args:
        text: YAML.
        name: of the file, for messages.

    Raises:
        WrongMapping: it is no YAML, or has another form; with the line.
    """
    lines: dict[Place, int] = {}
    root = _Form(name, lines).of(_Root, _plain(text, name, lines), ())
    form = _Form(name, lines)
    topics: dict[str, Topic] = {}
    for topic, value in root.topics.items():
        place: Place = ("topics", topic)
        if topic not in TOPIC_TYPES:
            raise WrongMapping(f"{form.where(place)}: there is no topic {topic!r}. {did_you_mean(topic, TOPIC_TYPES)}")
        found = form.of(Topic, value, place)
        rules = None
        if found.rules is not None:
            rules = [
                form.rule(form.of(Rule, each, (*place, "rules", n)), (*place, "rules", n))
                for n, each in enumerate(found.rules)
            ]
        topics[topic] = msgspec.structs.replace(
            found, kind=form.kind(found.kind, place), fields=form.fields(found.fields, place), rules=rules
        )
    if not topics:
        raise WrongMapping(f"{form.where(('topics',))}: no topic is mapped; name clicks, for example")
    return Document(name, topics, root.description, lines)


class _Form:
    """Conversion of plain values to the parts of a document, with the line of what doesn't fit."""

    def __init__(self, name: str, lines: Mapping[Place, int]) -> None:
        self._name = name
        self._lines = lines

    def where(self, place: Place) -> str:
        line = next((self._lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self._lines), 1)
        return f"{self._name}, line {line}"

    def rule(self, rule: Rule, place: Place) -> Rule:
        when = {path: self.of(Values, each, (*place, "when", path)) for path, each in rule.when.items()}
        return Rule(when, self.kind(rule.kind, place), self.fields(rule.fields, place))

    def kind(self, kind: Any, place: Place) -> Any:
        return None if kind is None else self.of(Kind, kind, (*place, "kind"))

    def fields(self, fields: Mapping[str, Any], place: Place) -> dict[str, Any]:
        return {
            field: self.of(str | list[str] | Source, each, (*place, "fields", field)) for field, each in fields.items()
        }

    def of(self, form: Any, value: Any, place: Place) -> Any:
        """The value in this form.

        Raises:
            WrongMapping: it has another one.
        """
        try:
            return msgspec.convert(value, form)
        except msgspec.ValidationError as error:
            message, _, path = str(error).partition(" - at `$")
            if unknown := _UNKNOWN.fullmatch(message):
                place = (*place, unknown["name"])
                known = _fields_of(form)
                message = f"there is nothing of this name here. {did_you_mean(unknown['name'], known)}"
            else:
                for found in _PART.finditer(path):
                    place = (*place, found["name"] or int(found["number"]))
                message = message.replace("`", "").replace("Expected", "expected").replace(" | ", " or ")
                message += _WORDS_OF.get(str(place[-1]), "") if message.startswith("Invalid enum") else ""
                message = message.replace("object", "a mapping").replace("array", "a list").replace("str", "text")
            raise WrongMapping(
                f"{self.where(place)}: {'.'.join(map(str, place)) or 'the mapping'}: {message}"
            ) from None


_WORDS_OF: Mapping[str, str] = {"otherwise": "; dead_letter or leave_out", "unit": "; s, ms, us or ns"}
_PART = re.compile(r"\.(?P<name>[A-Za-z_]+)|\[(?P<number>\d+)\]")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)


def _fields_of(form: Any) -> tuple[str, ...]:
    """The fields of a Struct, or of the one among the types of a union."""
    if hasattr(form, "__struct_fields__"):
        return tuple(form.__struct_fields__)
    return next(each.__struct_fields__ for each in typing.get_args(form) if hasattr(each, "__struct_fields__"))


def _plain(text: str, name: str, lines: dict[Place, int]) -> Any:
    """A YAML document as plain values; the line of each part is added to `lines`."""
    try:
        import yaml  # only a mapping needs it
    except ImportError:
        raise WrongMapping(f"{name}: a mapping is read by PyYAML, which is not here: pip install pyyaml") from None
    if len(text) > MOST_CHARACTERS:
        raise WrongMapping(f"{name}: {len(text):,} characters; a mapping has at most {MOST_CHARACTERS:,}")
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise WrongMapping(
                    f"{name}, line {_line_of(event.start_mark)}: anchors (&) and aliases (*) are not read; fields that "
                    "all rules share stand in `fields` of the topic"
                )
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {_line_of(mark)}" if mark else ""
        raise WrongMapping(f"{name}{line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise WrongMapping(f"{name}: not YAML: {str(error).splitlines()[0] if str(error) else error!r}") from None

    def plain(node: Any, place: Place) -> Any:
        lines.setdefault(place, _line_of(node.start_mark))
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node.value) if node.style is None else node.value
        if isinstance(node, yaml.SequenceNode):
            return [plain(each, (*place, number)) for number, each in enumerate(node.value)]
        found: dict[str, Any] = {}
        for key, value in node.value:
            line = _line_of(key.start_mark)
            if not isinstance(key, yaml.ScalarNode):
                raise WrongMapping(f"{name}, line {line}: a key is text, not a list or a mapping")
            if key.value in found:
                first = lines[*place, key.value]
                raise WrongMapping(
                    f"{name}, line {line}: {key.value!r} has two sources, this one and that of line {first}; a list of "
                    "paths takes the first that has a value: [one, other]"
                )
            lines[*place, key.value] = line
            found[key.value] = plain(value, (*place, key.value))
        return found

    if node is None:
        raise WrongMapping(f"{name}: the file is empty; a mapping begins with `topics:`")
    return plain(node, ())


def _line_of(mark: Any) -> int:
    return int(mark.line) + 1


_INTEGER = re.compile(r"[-+]?\d+", re.ASCII)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)
_WORDS: Mapping[str, bool | None] = {"true": True, "false": False, "null": None, "~": None, "": None}


def _scalar(text: str) -> Any:
    """The value of a plain scalar.

    >>> [_scalar(text) for text in ("no", "true", "12", "1.5", "2026-01-01", "~")]
    ['no', True, 12, 1.5, '2026-01-01', None]
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) and len(text) < 400:
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
