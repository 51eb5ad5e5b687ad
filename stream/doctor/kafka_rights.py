"""Rights in Kafka: those that workers and servers need, beside those that this account has.

Brokers since Kafka 2.3 say with a topic's or a group's description what the account may do with it (KIP-430), so that
nothing has to be tried. aiokafka reads the description of a group by the form of the version before, which leaves the
rights out, so the question for them is defined here.

This file decides which rights are needed, and by which command they are given.
"""

from __future__ import annotations

from typing import Any

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, NoError, TopicAuthorizationFailedError, for_code
from aiokafka.protocol.admin import DescribeGroupsRequest_v3, DescribeGroupsResponse_v3
from aiokafka.protocol.api import Request, RequestStruct

from stream.doctor.findings import Finding, error, note, ok
from stream.kafka.connection.metadata import Question, rights_in
from stream.settings import Settings

OPERATIONS = {"READ": 3, "WRITE": 4, "CREATE": 5, "DESCRIBE": 8}
"""Numbers of Kafka's operations (`org.apache.kafka.common.acl.AclOperation`)."""

UNKNOWN = -(1 << 31)
"""Given by brokers that don't say."""

GIVE = "kafka-acls.sh --bootstrap-server {kafka} --add --allow-principal User:NAME {operations} --{kind} {name}"


class _GroupQuery(RequestStruct):
    """Version 3 of Kafka's `DescribeGroupsRequest`, the first one with rights."""

    API_KEY = DescribeGroupsRequest_v3.API_KEY
    API_VERSION = DescribeGroupsRequest_v3.API_VERSION
    RESPONSE_TYPE = DescribeGroupsResponse_v3
    SCHEMA = DescribeGroupsRequest_v3.SCHEMA


class _GroupQuestion(Request[_GroupQuery]):
    """The question for a consumer group and for what this account may do with it."""

    API_KEY = _GroupQuery.API_KEY

    def __init__(self, name: str) -> None:
        self._name = name

    def build(self, request_struct_class: type[Any]) -> Any:
        return request_struct_class([self._name], True)


async def check_rights(admin: Any, settings: Settings) -> list[Finding]:
    """Rights on the topics and on the consumer group that are missing."""
    needed = dict.fromkeys([*settings.topics.values(), settings.dead_letters_topic], ("READ", "WRITE"))
    answer = rights_in(await admin._send_request(Question(needed, rights=True)))  # noqa: SLF001  aiokafka's admin has no name for it
    findings: list[Finding] = []
    unknown = False
    for topic, (code, allowed) in answer.items():
        if for_code(code) is TopicAuthorizationFailedError:
            findings.append(_missing(settings, "topic", topic, ["DESCRIBE", *needed[topic]]))
        elif for_code(code) is not NoError:
            continue  # a topic that is missing is another check's finding
        elif allowed == UNKNOWN:
            unknown = True
        elif lacking := [name for name in needed[topic] if not allowed >> OPERATIONS[name] & 1]:
            findings.append(_missing(settings, "topic", topic, lacking))
    findings += await _group(admin, settings)
    if unknown:
        findings.append(note("kafka.rights", "these brokers are older than 2.3 and don't say who may do what"))
    return findings or [ok("kafka.rights", "this account may read and write all topics, and read the group")]


async def _group(admin: Any, settings: Settings) -> list[Finding]:
    name = settings.consumer_group
    try:
        coordinator = await admin.find_coordinator(name)
        response = await admin._send_request(_GroupQuestion(name), coordinator)  # noqa: SLF001  as above
    except GroupAuthorizationFailedError:
        return [_missing(settings, "group", name, ["READ"])]
    except (KafkaError, NotImplementedError):
        return []  # the check of the group says so; brokers before 2.3 have no version of the question
    code, *_, allowed = response.groups[0]
    if for_code(code) is GroupAuthorizationFailedError:
        return [_missing(settings, "group", name, ["READ"])]
    if allowed != UNKNOWN and not allowed >> OPERATIONS["READ"] & 1:
        return [_missing(settings, "group", name, ["READ"])]
    return []


def _missing(settings: Settings, kind: str, name: str, operations: list[str]) -> Finding:
    given = " ".join(f"--operation {operation.title()}" for operation in operations)
    return error(
        "kafka.rights",
        f"this account may not {' and '.join(operations)} the {kind} {name}",
        GIVE.format(kafka=settings.kafka, operations=given, kind=kind, name=name),
    )
