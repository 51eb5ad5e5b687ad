"""The call that posts events.

This file decides how events become a body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from corrente.answers import (
    Accepted,
)
from corrente.calls.call import Call, encode, json_of
from corrente.events import Event


def post_events(topic: str, events: Sequence[Event], names: Mapping[str, str]) -> Call[Accepted]:
    """Events of one topic.

    Args:
        topic: `clicks`, `purchases` or `feedback`.
        events: of it.
        names: our name of a field to the one that the server reads (`CORRENTE_FIELDS`).
    """
    content: Any = events
    if names:
        content = [
            {names.get(name, name): each for name, each in msgspec.to_builtins(event).items()} for event in events
        ]
    return Call(f"POST /v1/events/{topic}", json_of(Accepted), body=encode(content))
