"""Rights in Kafka: those that workers and servers need, beside those that this account has.

Brokers since Kafka 2.3 say with a topic's or a group's description what the account may do with it (KIP-430), so that
nothing has to be tried. This file decides which rights are needed, and by which command they are given.
"""

from __future__ import annotations

from typing import Any

from aiokafka.errors import GroupAuthorizationFailedError, KafkaError, NoError, TopicAuthorizationFailedError, for_code

from stream.doctor.findings import Finding, error, note, ok
from stream.kafka.connection.metadata import Question, rights_in
from stream.settings import Settings

OPERATIONS = {"READ": 3, "WRITE": 4, "CREATE": 5, "DESCRIBE": 8}
"""Numbers of Kafka's operations (`org.apache.kafka.common.acl.AclOperation`)."""

UNKNOWN = -(1 << 31)
"""Given by brokers that don't say."""

GIVE = "kafka-acls.sh --bootstrap-server {kafka} --add --allow-principal User:NAME {operations} --{kind} {name}"


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
        responses = await admin.describe_consumer_groups([name], include_authorized_operations=True)
    except GroupAuthorizationFailedError:
        return [_missing(settings, "group", name, ["READ"])]
    except KafkaError:
        return []  # the check of the group says so
    code, *_, allowed = responses[0].groups[0]
    if for_code(code) is GroupAuthorizationFailedError:
        return [_missing(settings, "group", name, ["READ"])]
    stated = isinstance(allowed, int) and allowed != UNKNOWN
    if stated and not allowed >> OPERATIONS["READ"] & 1:
        return [_missing(settings, "group", name, ["READ"])]
    return []


def _missing(settings: Settings, kind: str, name: str, operations: list[str]) -> Finding:
    given = " ".join(f"--operation {operation.title()}" for operation in operations)
    return error(
        "kafka.rights",
        f"this account may not {' and '.join(operations)} the {kind} {name}",
        GIVE.format(kafka=settings.kafka, operations=given, kind=kind, name=name),
    )
