"""Rights on topics and groups: which ones a client has, and the command that gives it a missing one.

Without a right, Kafka leaves a topic out of its answers, or refuses a fetch long after the start. So a client asks for
its rights before it begins (KIP-430). A broker before Kafka 2.3, or one without an authorizer, has no answer to that,
and nothing counts as missing.

This file decides how an answer is read, and what is said of a missing right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aiokafka.errors import GroupAuthorizationFailedError, NoError, TopicAuthorizationFailedError, for_code
from aiokafka.protocol.coordination import FindCoordinatorRequest

from stream.kafka.connection.metadata import Question, rights_in
from stream.settings import Settings

READ, WRITE, DESCRIBE = "Read", "Write", "Describe"

_BITS = {READ: 3, WRITE: 4, DESCRIBE: 8}
"""Bits of the answer, by the operation's name in Kafka's tools (`org.apache.kafka.common.acl.AclOperation`)."""

_UNKNOWN = -(2**31)
"""Answer of a broker that says nothing of rights."""


class Needs(NamedTuple):
    """The rights that a client needs.

    Attributes:
        topics: operations, by topic.
        group: consumer group that is joined; empty if none is.
    """

    topics: Mapping[str, tuple[str, ...]]
    group: str = ""


class Missing(NamedTuple):
    """A right that a client has not: an operation on a resource, as Kafka's tools name both."""

    operation: str
    resource: str
    name: str


def learner_needs(settings: Settings) -> Needs:
    """The rights of a worker."""
    topics = {**dict.fromkeys(settings.topics.values(), (READ,)), settings.dead_letters_topic: (WRITE,)}
    return Needs(topics, settings.consumer_group)


def poster_needs(settings: Settings) -> Needs:
    """The rights of a server, or another writer of events."""
    return Needs(dict.fromkeys(settings.topics.values(), (WRITE,)))


def letter_needs(settings: Settings) -> Needs:
    """The rights of a reader of dead letters."""
    return Needs({settings.dead_letters_topic: (READ,)})


async def missing_rights(connection: Any, needs: Needs) -> list[Missing]:
    """The first right that is missing on each topic, and on the group.

    A topic that doesn't exist counts as allowed, unless the client may not even see whether it exists.

    Args:
        connection: to a broker, open.
        needs: rights that are needed.

    Raises:
        KafkaError, TimeoutError: no answer.
    """
    missing = []
    reply = await connection.send(Question(needs.topics, rights=True))
    for name, (code, granted) in rights_in(reply).items():
        error = for_code(code)
        lacking = [DESCRIBE] if error is TopicAuthorizationFailedError else []
        if error is NoError and granted != _UNKNOWN:
            lacking = [operation for operation in needs.topics[name] if not granted >> _BITS[operation] & 1]
        missing += [Missing(operation, "topic", name) for operation in lacking[:1]]
    if needs.group:
        coordinator = await connection.send(FindCoordinatorRequest(needs.group, 0))
        if for_code(coordinator.error_code) is GroupAuthorizationFailedError:
            missing.append(Missing(READ, "group", needs.group))
    return missing


def explain_missing(settings: Settings, missing: Sequence[Missing]) -> str:
    """The rights that are missing and the commands that give them, in one line."""
    user = settings.kafka_sasl_username or "NAME"
    commands = "; ".join(
        f"kafka-acls.sh --bootstrap-server {settings.kafka} --add --allow-principal User:{user} --operation "
        f"{operation} --{resource} {name}"
        for operation, resource, name in missing
    )
    listed = ", ".join(f"{operation} on the {resource} {name}" for operation, resource, name in missing)
    who = f"the user {settings.kafka_sasl_username!r}" if settings.kafka_sasl_username else "this client"
    return f"Kafka at {settings.kafka}: {who} has no right to {listed}. Give it: {commands}"
