"""Rights on topics and groups: which ones a client has, and the command that gives it a missing one.

Without a right, Kafka leaves a topic out of its answers, or refuses a fetch long after the start. So a client asks for
its rights before it begins, and nothing has to be tried: brokers since Kafka 2.3 say with a topic's or a group's
description what the account may do with it (KIP-430). Where a broker doesn't say it, nothing counts as missing.

This file decides which rights each part of Corrente needs, how a broker's answer is read, and what is said of a missing
right.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from aiokafka.errors import (
    GroupAuthorizationFailedError,
    IncompatibleBrokerVersion,
    NoError,
    TopicAuthorizationFailedError,
    for_code,
)
from aiokafka.protocol.admin import DescribeGroupsRequest_v0, DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct
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
    """Rights that a client has not: operations on one resource, as Kafka's tools name both."""

    operations: tuple[str, ...]
    resource: str
    name: str

    def __str__(self) -> str:
        """The operations and the resource in words, such as `Read and Write on the topic clicks`."""
        return f"{' and '.join(self.operations)} on the {self.resource} {self.name}"


class Rights(NamedTuple):
    """A broker's answer.

    Attributes:
        missing: one entry for each topic, and for the group, on which something is missing.
        stated: False if the broker doesn't say what an account may do with a topic.
    """

    missing: list[Missing]
    stated: bool


class Send(Protocol):
    """Sends a request to the broker of this id, or to any; the value is its answer."""

    def __call__(self, request: Any, node_id: int | None = None, /) -> Awaitable[Any]: ...


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


def all_needs(settings: Settings) -> Needs:
    """The rights of an account that every part of Corrente uses."""
    topics: dict[str, tuple[str, ...]] = {}
    parts = [needs(settings) for needs in (learner_needs, poster_needs, letter_needs)]
    for name, operations in (item for part in parts for item in part.topics.items()):
        topics[name] = tuple(sorted({*topics.get(name, ()), *operations}))
    return Needs(topics, parts[0].group)


async def ask_rights(send: Send, needs: Needs) -> Rights:
    """The rights that are missing on each topic and on the group.

    A topic that doesn't exist counts as allowed, unless the client may not even see whether it exists: each right but
    the one to create topics includes that one. If `send` reaches one broker only, and another one coordinates the
    group, nothing but the right to see the group is known of it.

    Args:
        send: to brokers that take requests.
        needs: rights that are needed.

    Raises:
        KafkaError, TimeoutError: no answer.
    """
    missing, stated = [], True
    for name, (code, granted) in rights_in(await send(Question(needs.topics, rights=True))).items():
        error = for_code(code)
        if error is TopicAuthorizationFailedError:
            missing.append(Missing((DESCRIBE, *needs.topics[name]), "topic", name))
        elif error is NoError:
            stated = stated and granted != _UNKNOWN
            if lacking := _lacking(needs.topics[name], granted):
                missing.append(Missing(lacking, "topic", name))
    if needs.group and not await _may_join(send, needs.group):
        missing.append(Missing((READ,), "group", needs.group))
    return Rights(missing, stated)


def explain_missing(settings: Settings, missing: Sequence[Missing]) -> str:
    """The rights that are missing and the commands that give them, in one line."""
    commands = "; ".join(grant_command(settings, each) for each in missing)
    listed = ", ".join(map(str, missing))
    who = f"the user {settings.kafka_sasl_username!r}" if settings.kafka_sasl_username else "this client"
    return f"Kafka at {settings.kafka}: {who} has no right to {listed}. Give it: {commands}"


def grant_command(settings: Settings, missing: Missing) -> str:
    """The command that gives what is missing on one resource."""
    user = settings.kafka_sasl_username or "NAME"
    operations = " ".join(f"--operation {operation}" for operation in missing.operations)
    return (
        f"kafka-acls.sh --bootstrap-server {settings.kafka} --add --allow-principal User:{user} {operations} "
        f"--{missing.resource} {missing.name}"
    )


def _lacking(operations: Sequence[str], granted: int) -> tuple[str, ...]:
    if granted == _UNKNOWN:
        return ()
    return tuple(operation for operation in operations if not granted >> _BITS[operation] & 1)


async def _may_join(send: Send, group: str) -> bool:
    """False if the client may not see the group, or may see and not read it; True if no broker says so."""
    coordinator = await send(FindCoordinatorRequest(group, 0))
    if (error := for_code(coordinator.error_code)) is not NoError:
        return error is not GroupAuthorizationFailedError
    try:
        answer = await send(_GroupQuestion(group), coordinator.coordinator_id)
    except (IncompatibleBrokerVersion, NotImplementedError):  # a broker without this question says nothing of rights
        return True
    code, *_, granted = answer.groups[0]
    if (error := for_code(code)) is not NoError:
        return error is not GroupAuthorizationFailedError
    return not isinstance(granted, int) or not _lacking([READ], granted)


class _GroupQuery(RequestStruct):
    """Version 3 of Kafka's `DescribeGroupsRequest`, the first one with rights.

    aiokafka reads the answer to its own by the form of the version before, which leaves the rights out.
    """

    API_KEY = DescribeGroupsRequest_v3.API_KEY
    API_VERSION = DescribeGroupsRequest_v3.API_VERSION
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = DescribeGroupsRequest_v3.SCHEMA


class _GroupQuestion(Request[DescribeGroupsRequest_v0 | _GroupQuery]):
    """The question for a group and for the client's rights on it; a broker before Kafka 2.3 doesn't say them."""

    API_KEY = _GroupQuery.API_KEY

    def __init__(self, name: str) -> None:
        self._name = name

    def build(self, request_struct_class: type[Any]) -> Any:
        """The request in one of its two versions."""
        if request_struct_class is DescribeGroupsRequest_v0:
            return DescribeGroupsRequest_v0([self._name])
        return _GroupQuery([self._name], True)
