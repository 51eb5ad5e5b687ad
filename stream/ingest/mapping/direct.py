"""Rules that only give fields other names: their records are events whose JSON has these names.

Most mappings of one's own events are such: each field of ours stands in a field of the record, and no two in the same
one. Then no tree is needed, and a record is decoded as fast as one in our own form. What such a type can't read, or
what a tree might read otherwise, it refuses, and the record is looked at by its tree.

This file decides which rules are such, and how their type refuses everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from stream.events import TOPIC_TYPES, Event
from stream.ingest.mapping.sources import FieldSource
from stream.ingest.mapping.trees import OWN


def direct_type(topic: str, sources: Mapping[str, FieldSource], kind: str) -> type[Event] | None:
    """The type of the events of a rule, whose JSON is the record; None if the rule does more than give new names.

    A field that the rule doesn't read has a name that no producer gives, and the type of null. So has what is ours in a
    record. A record with a value there is refused.

    Args:
        topic: our topic of the events.
        sources: of the rule, by our field.
        kind: of all events; it counts for feedback alone.
    """
    names = {"own_": OWN}
    fields: list[Any] = [("own_", None, None)]
    for each in msgspec.structs.fields(TOPIC_TYPES[topic]):
        source = sources.get(each.name)
        constant = kind if each.name == "kind" else source.constant if source is not None else None
        names[each.name] = f"{OWN}: not {each.name}"
        if source is not None and source.paths:
            step = source.paths[0][0]
            plain = len(source.paths) == len(source.paths[0]) == 1 and source.constant is None and source.unit is None
            if not plain or not isinstance(step, str):
                return None
            names[each.name] = step
            fields.append((each.name, each.type) if each.required else (each.name, each.type, each.default))
        elif constant is None:
            fields.append((each.name, None, None))
        elif type(constant) in {str, int} and _is_value(constant, each.type):
            fields.append((each.name, Literal[constant], constant))
        else:
            return None
    if len(set(names.values())) < len(names):
        return None
    event_type = TOPIC_TYPES[topic]
    made: Any = msgspec.defstruct(event_type.__name__, fields, bases=(event_type,), rename=names, kw_only=True)
    return made


def _is_value(constant: Any, kind: Any) -> bool:
    try:
        return bool(msgspec.convert(constant, kind) == constant)
    except msgspec.ValidationError:
        return False
