"""Checks of settings that name something outside: topics and groups of Kafka, proxies, fields of producers' events.

A wrong name would otherwise be found much later, as an error of Kafka or of a decoder that doesn't say which setting
is to blame. This file decides which names are refused, and what the message says.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Mapping

from pydantic import ValidationInfo

from stream.events import TOPIC_TYPES
from stream.ingest.mapping.loading import load_mapping

OWN_PATHS = frozenset({"v1", "health", "metrics", "docs", "openapi.json"})
"""First segments of the HTTP server's own routes."""

_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def check_topic(name: str) -> str:
    """Return the name of a topic as it is.

    Raises:
        ValueError: Kafka allows no topic of this name (its rule is in `org.apache.kafka.common.internals.Topic`).

    >>> check_topic("shop.views")
    'shop.views'
    """
    if not _LEGAL.fullmatch(name) or name in {".", ".."}:
        found = "an empty name" if not name else "not a name that Kafka allows for a topic"
        raise ValueError(f"{found}; a topic's name has 1 to 249 letters, digits, '.', '_' and '-'")
    return name


def check_group(name: str) -> str:
    """Return the name of a consumer group as it is; an empty one stands for the default.

    Raises:
        ValueError: the name has blanks around it, or nothing else, or a control character.
    """
    if name != name.strip() or not name.isprintable():
        raise ValueError(
            "a group's name has no blanks around it and no control characters; leave the variable out for the default"
        )
    return name


def check_root_path(path: str) -> str:
    """Return a path that a proxy adds as it is.

    Raises:
        ValueError: the HTTP server has own routes below it.
    """
    first = path.split("/")[1] if path else ""
    if first in OWN_PATHS:
        raise ValueError(f"/{first} is the beginning of own routes, so it can't be told whether a proxy strips it")
    return path


def check_networks(addresses: str) -> str:
    """Return addresses or networks, separated by commas, as they are.

    Raises:
        ValueError: one of them is none.
    """
    for each in addresses.split(",") if addresses not in {"", "*"} else ():
        ipaddress.ip_network(each.strip())
    return addresses


def check_mapping(name: str, given: ValidationInfo) -> str:
    """Return the file or the name of a mapping as it is.

    Args:
        name: empty for no mapping.
        given: the settings before it.

    Raises:
        ValueError: the mapping can't be read or used, or the names of fields are given beside it.
    """
    if name and given.data.get("fields"):
        raise ValueError("CORRENTE_FIELDS is given, too, and a mapping names the fields itself: remove one of them")
    if name:
        load_mapping(name)
    return name


def check_fields(fields: Mapping[str, str]) -> None:
    """Check the producer's names of the fields of events.

    Args:
        fields: our field name to the producer's.

    Raises:
        ValueError: no event has the field, the producer's name is empty, or two fields of one event would have one.
    """
    known = {field for each in TOPIC_TYPES.values() for field in each.__struct_fields__}
    for ours, theirs in fields.items():
        if ours not in known:
            close = difflib.get_close_matches(ours, known, n=1)
            nearest = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(sorted(known))}."
            turned = " Our name comes first, the producers' second." if theirs in known else ""
            raise ValueError(f"no event has a field {ours!r}. {nearest}{turned}")
        if not theirs.strip():
            raise ValueError(f"the producers' name of {ours!r} is empty")
    for topic, event in TOPIC_TYPES.items():
        by_name: dict[str, str] = {}
        for ours in event.__struct_fields__:
            theirs = fields.get(ours, ours)
            other = by_name.setdefault(theirs, ours)
            if other != ours:
                raise ValueError(
                    f"in {topic}, the fields {other!r} and {ours!r} would both be read from {theirs!r}; each needs a "
                    f"name of its own (give {(ours if ours not in fields else other)!r} another one, too)"
                )


def check_different(prefix: str, topics: Mapping[str, str]) -> None:
    """Refuse one topic of Kafka for two purposes.

    Args:
        prefix: beginning of variables, for the message.
        topics: our name of each topic to its name in Kafka.

    Raises:
        ValueError: two of them name the same; the text says which.
    """
    by_name: dict[str, str] = {}
    for topic, kafka_name in topics.items():
        other = by_name.setdefault(kafka_name, topic)
        if other != topic:
            raise ValueError(
                f"{prefix}{other.upper()}_TOPIC and {prefix}{topic.upper()}_TOPIC both name the topic {kafka_name!r}: "
                "each needs a topic of its own, because the topic decides as what its records are learned"
            )
