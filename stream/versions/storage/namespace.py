"""One model's part of a Redis: the client, the names of its keys, and scripts as functions.

This file decides how the parts of the version store reach Redis. It sends nothing by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis

from stream.versions.storage.keys import Keys


class Namespace:
    """Everything of one model in one Redis.

    Args:
        redis: a client of redis-py that does not decode responses. It is safe to share between threads.
        model: name of the model; several share a Redis.
    """

    def __init__(self, redis: redis.Redis, model: str) -> None:
        self.redis: Any = redis
        self.model = model
        self.keys = Keys(model)

    def script(self, source: str) -> Callable[..., Any]:
        """A Lua script as a function: of its request, a record of named arguments, and any further arguments.

        The first call on a server sends the source, later ones its SHA-1 only.
        """
        registered = self.redis.register_script(source)

        def run(request: tuple = (), *more: Any) -> Any:
            return registered(keys=[self.keys.prefix], args=[*request, *more])

        return run


def text(value: bytes | str) -> str:
    """A reply cell as text."""
    return value.decode() if isinstance(value, bytes) else value
