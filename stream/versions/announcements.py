"""Announcements: a hint over Redis' publish/subscribe that a version was published or an alias moved.

Announcements are sent by the scripts that publish and move, in the same atomic step. One may be lost, and Redis may
refuse all of them: the default user of Redis 7's access lists has no channel. So readers poll as well, and a publish or
a move takes effect without being announced.

This file decides the form of an announcement, and what is said of one that was refused.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from redis.exceptions import NoPermissionError

from stream.versions.storage.namespace import Namespace


class Announcement(msgspec.Struct, frozen=True, omit_defaults=True):
    """A new version of `partition`, or a move of `alias`; `number` is the version, None for an alias taken away.

    `origin` is the name of the process that moved the alias, if it gave one: that process needs no hint.
    """

    number: int | None
    partition: int | None = None
    alias: str | None = None
    origin: str = ""


def refused(space: Namespace, reason: str) -> str:
    """The sentence that says that an announcement was refused, and what follows."""
    return (
        f"Redis refused to announce it on the channel {space.keys.announcements} ({reason.strip()}). It has taken "
        "effect, and every server finds it at its next look, within CORRENTE_POLL_SECONDS. To have it announced, "
        "give the user the channels: ACL SETUSER NAME &corrente:*"
    )


def announcing_problem(space: Namespace) -> str | None:
    """The reason why announcements of this model are refused; None if one was just sent.

    Raises:
        redis.exceptions.RedisError: Redis can't be reached.
    """
    try:
        space.redis.publish(space.keys.announcements, msgspec.json.encode(Announcement(None)))
    except NoPermissionError as error:
        return (
            f"versions can't be announced on the channel {space.keys.announcements} ({error}): servers find each at "
            "their next look, within CORRENTE_POLL_SECONDS. Give the user the channels: ACL SETUSER NAME &corrente:*"
        )
    return None


def announcements(space: Namespace, wait_seconds: float) -> Iterator[Announcement | None]:
    """Announcements as they arrive, and None whenever none arrived for `wait_seconds`: the moment to poll.

    Raises:
        redis.exceptions.NoPermissionError: this user may not listen.
        redis.exceptions.RedisError: the connection broke; subscribe again.
    """
    with space.redis.pubsub(ignore_subscribe_messages=True) as subscription:
        subscription.subscribe(space.keys.announcements)
        while True:
            message = subscription.get_message(timeout=wait_seconds)
            yield None if message is None else msgspec.json.decode(message["data"], type=Announcement)
