"""`corrente doctor` on a real Kafka and Redis: topics, configuration, rights, transactions and group, good and bad."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from benchmarks.harness.servers import KafkaServer
from benchmarks.harness.waiting import wait_until
from stream.doctor.findings import Finding, Severity
from stream.doctor.kafka import check_kafka
from stream.settings import Settings, load_settings
from tests.integration.harness import kafka_client
from tests.integration.harness.kafka_client import Message, Transaction


async def checked(settings: Settings) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in await check_kafka(settings):
        found.setdefault(finding.check, []).append(finding)
    return found


def worst(found: dict[str, list[Finding]]) -> dict[str, Severity]:
    return {check: max(each.severity for each in findings) for check, findings in found.items()}


@pytest.fixture
def settings(environment) -> Settings:
    return load_settings(environment)


def wait_for_topics(settings: Settings, *topics: str) -> None:
    """Wait until each topic is seen: Kafka says that it made one before its brokers show it."""
    for topic in topics:
        wait_until(lambda topic=topic: kafka_client.count_partitions(settings.kafka, topic), f"the topic {topic}")


def run(checking):
    return asyncio.run(checking)


def test_topics_that_are_missing_are_named_with_the_command_that_makes_them(settings):
    found = run(checked(settings))
    assert len(found["kafka.topics"]) == 4
    assert worst(found)["kafka.topics"] is Severity.NOTE, "a worker makes them"
    refused = run(checked(settings.model_copy(update={"create_topics": False})))["kafka.topics"]
    assert [finding.severity for finding in refused].count(Severity.ERROR) == 2, "clicks and dead letters are needed"
    assert all("kafka-topics.sh" in finding.mend for finding in refused)


def test_everything_that_is_well_is_said_to_be_and_a_shard_too_many_is_not(settings, make_topics, kafka):
    make_topics(2, {"retention.ms": "604800000", "message.timestamp.after.max.ms": "3600000"})
    kafka_client.make_topics(kafka, {settings.dead_letters_topic: 1})
    wait_for_topics(settings, *settings.topics.values(), settings.dead_letters_topic)
    found = run(checked(settings))
    assert {check for check, severity in worst(found).items() if severity > Severity.OK} == {"kafka.group"}
    assert "corrente worker" in found["kafka.group"][0].mend
    uneven = run(checked(settings.model_copy(update={"shards": 3})))
    assert worst(uneven)["kafka.partitions"] is Severity.ERROR


def test_a_topic_that_is_compacted_or_keeps_records_for_an_hour_is_reported(settings, make_topics):
    make_topics(1, {"cleanup.policy": "compact", "retention.ms": "3600000"})
    wait_for_topics(settings, *settings.topics.values())
    found = run(checked(settings))
    assert worst(found)["kafka.retention"] is Severity.ERROR
    assert len(found["kafka.retention"]) == 6


def test_an_open_transaction_that_holds_a_partition_up_is_found(settings, make_topics, kafka):
    make_topics(1)
    wait_for_topics(settings, *settings.topics.values())
    with kafka_client.transactions(kafka, f"{settings.group}-doctor") as producer:
        messages = [Message(settings.clicks_topic, b"{}") for _ in range(3)]
        producer.send(messages, Transaction.OPEN)
        found = run(checked(settings))["kafka.transactions"]
        assert [finding.severity for finding in found] == [Severity.WARNING]
        assert f"holds {settings.clicks_topic}-0 up at offset 0" in found[0].found
        producer.finish(Transaction.ABORTED)


def test_a_broker_that_is_not_there_is_one_finding(settings):
    found = run(checked(settings.model_copy(update={"kafka": "127.0.0.1:9"})))
    assert worst(found) == {"kafka.reachable": Severity.ERROR}
    assert "CORRENTE_KAFKA" in found["kafka.reachable"][0].mend


@pytest.mark.fault
@pytest.mark.long
def test_rights_that_are_missing_are_named_with_the_command_that_gives_them(settings, tmp_path):
    authorizer = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with KafkaServer(tmp_path / "kafka", authorizer, brief=True) as server:
        own = settings.model_copy(update={"kafka": server.bootstrap})
        names = [*settings.topics.values(), settings.dead_letters_topic]
        kafka_client.make_topics(server.bootstrap, dict.fromkeys(names, 1))
        wait_for_topics(own, *names)
        assert worst(run(checked(own)))["kafka.rights"] is Severity.OK
        deny(server, AclOperation.WRITE, ResourceType.TOPIC, settings.clicks_topic)
        deny(server, AclOperation.READ, ResourceType.GROUP, settings.group)
        found = run(checked(own))["kafka.rights"]
    assert {(finding.severity, finding.found) for finding in found} == {
        (Severity.ERROR, f"this account has no right to Write on the topic {settings.clicks_topic}"),
        (Severity.ERROR, f"this account has no right to Read on the group {settings.group}"),
    }
    assert all("kafka-acls.sh" in finding.mend for finding in found)


def deny(server: KafkaServer, operation: AclOperation, kind: ResourceType, name: str) -> None:
    """Deny something to everyone, and allow everyone the rest of it: a first rule for a topic closes it otherwise."""
    rules = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, "User:*", "*", what, permission)
        for what, permission in ((AclOperation.ALL, AclPermissionType.ALLOW), (operation, AclPermissionType.DENY))
    ]
    admin = AdminClient({"bootstrap.servers": server.bootstrap})  # kept: an answer doesn't outlive its client
    for made in admin.create_acls(rules).values():
        made.result(30)
