"""Announcements: a hint over Redis' publish/subscribe that a version was published or an alias moved.

This file decides the form of an announcement. Announcements are sent by the scripts that publish and move, in the same
atomic step; one may be lost, so readers poll as well.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from stream.versions.storage.namespace import Namespace


class Announcement(msgspec.Struct, frozen=True):
    """A new version of `partition`, or a move of `alias`; `number` is the version, None for an alias taken away."""

    number: int | None
    partition: int | None = None
    alias: str | None = None


def announcements(space: Namespace, wait_seconds: float) -> Iterator[Announcement | None]:
    """Announcements as they arrive, and None whenever none arrived for `wait_seconds`: the moment to poll.

    Raises:
        redis.exceptions.RedisError: the connection broke; subscribe again.
    """
    with space.redis.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(space.keys.announcements)
        while True:
            message = subscription.get_message(timeout=wait_seconds)
            yield None if message is None else msgspec.json.decode(message["data"], type=Announcement)
