"""One model's part of a Redis: the connection, the names of its keys, and scripts as functions.

This file decides how the parts of the version store reach Redis. It sends nothing by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

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


def connect(url: str, timeout_seconds: float) -> redis.Redis:
    """A client for `redis://host:port/db`. It connects when it is first used.

    A broken connection is replaced once and at once; whether to wait for a Redis that is away is the caller's
    decision, so the client doesn't.
    """
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 1),
    )


def text(value: bytes | str) -> str:
    """A reply cell as text."""
    return value.decode() if isinstance(value, bytes) else value
