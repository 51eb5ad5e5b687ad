"""Checks of Kafka: brokers, topics and their configuration, and the consumer group.

This file decides what is checked with an admin client, in which order, and what follows if no broker answers. Which
rights are needed is decided in `stream.kafka.connection.rights`; records are checked in `stream.doctor.kafka_logs`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NoError, for_code

from stream.doctor.findings import Finding, error, note, ok, warning
from stream.doctor.kafka_logs import check_logs
from stream.kafka.connection.rights import all_needs, ask_rights, grant_command
from stream.kafka.group import describe_group, stranger
from stream.kafka.refusals import CannotLearn
from stream.kafka.shard_count import check_topics
from stream.kafka.topics import MAX_AHEAD_MS, connect_admin, partition_counts
from stream.settings import Settings

ANSWER_SECONDS = 10.0
"""Longest time for one check."""

SHORT_RETENTION_MS = 24 * 3_600_000
"""Retention below which a weekend without a worker, or a Redis that lost its data, costs events."""

CREATE = "kafka-topics.sh --bootstrap-server {kafka} --create --topic {topic} --partitions {partitions}"
ALTER = (
    "kafka-configs.sh --bootstrap-server {kafka} --alter --entity-type topics --entity-name {topic} --add-config {to}"
)

Check = Callable[[Any, Settings], Awaitable[list[Finding]]]


async def check_kafka(settings: Settings) -> list[Finding]:
    """Every check of Kafka; only one finding if no broker answers."""
    admin = connect_admin(settings)
    try:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await admin.start()
                cluster = await admin.describe_cluster()
        except (KafkaError, OSError, TimeoutError) as failed:
            return [
                error(
                    "kafka.reachable",
                    f"{settings.kafka} can't be used: {failed or failed!r}",
                    "start Kafka, or set CORRENTE_KAFKA to its brokers, as host:port",
                )
            ]
        findings = await _brokers(cluster, settings)
        checks: list[tuple[str, Check]] = [
            ("kafka.topics", _topics),
            ("kafka.configuration", _configuration),
            ("kafka.rights", _rights),
            ("kafka.group", _group),
            ("kafka.logs", check_logs),
        ]
        for name, check in checks:
            findings += await _answered(name, check(admin, settings))
        return findings
    finally:
        await admin.close()


async def _answered(name: str, checking: Awaitable[list[Finding]]) -> list[Finding]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await checking
    except IncompatibleBrokerVersion as lacking:
        return [note(name, f"this broker can't be asked for it: {lacking}")]
    except (KafkaError, OSError, TimeoutError) as failed:
        return [
            error(
                name,
                f"Kafka gave no answer: {failed if str(failed) else repr(failed)}",
                "see that this account has the right to DESCRIBE topics and the group, and look at the brokers' log",
            )
        ]
    except Exception as unforeseen:  # brokers of other kinds lack requests, and aiokafka takes some answers for granted
        return [note(name, f"this broker can't be asked for it: {unforeseen!r}")]


async def _brokers(cluster: Mapping[str, Any], settings: Settings) -> list[Finding]:
    """Every broker is reached under the address that it advertises: clients use that and not the setting's."""
    addresses = [(broker["host"], broker["port"]) for broker in cluster["brokers"]]
    silent = [f"{host}:{port}" for host, port in addresses if not await _accepts(host, port)]
    if silent:
        return [
            error(
                "kafka.reachable",
                f"{settings.kafka} answers, and names brokers that this machine can't reach: {', '.join(silent)}",
                "set advertised.listeners of these brokers to an address that this machine can resolve and reach",
            )
        ]
    return [ok("kafka.reachable", f"{len(addresses)} broker{'s' * (len(addresses) != 1)} at {settings.kafka}")]


async def _accepts(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(3.0):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True


async def _topics(admin: Any, settings: Settings) -> list[Finding]:
    """Topics are there, and the number of shards fits their partitions."""
    counts = await partition_counts(admin, [*settings.topics.values(), settings.dead_letters_topic])
    findings = []
    wanted = next((count for count in counts.values() if count), settings.partitions)
    for topic in (name for name, count in counts.items() if not count):
        for_letters = topic == settings.dead_letters_topic
        create = CREATE.format(kafka=settings.kafka, topic=topic, partitions=1 if for_letters else wanted)
        if settings.create_topics:
            findings.append(note("kafka.topics", f"there is no topic {topic}; a worker creates it", create))
        elif for_letters or topic == settings.clicks_topic:
            findings.append(
                error("kafka.topics", f"there is no topic {topic}, and CORRENTE_CREATE_TOPICS is off", create)
            )
        else:
            findings.append(
                warning("kafka.topics", f"there is no topic {topic}; it is learned once it is there", create)
            )
    there = ", ".join(f"{topic} ({count})" for topic, count in counts.items() if count)
    if there:
        findings.append(ok("kafka.topics", f"topics and their partitions: {there}"))
    try:
        check_topics({topic: counts[topic] for topic in settings.topics.values()}, settings)
    except CannotLearn as refused:
        findings.append(error("kafka.partitions", str(refused), "set CORRENTE_SHARDS to a number that divides them"))
    else:
        findings.append(ok("kafka.partitions", f"{settings.shards} shard{'s' * (settings.shards != 1)} fit them"))
    return findings


async def _configuration(admin: Any, settings: Settings) -> list[Finding]:
    """Retention, compaction and timestamps of the event topics."""
    counts = await partition_counts(admin, list(settings.topics.values()))
    findings: list[Finding] = []
    for topic in (name for name, count in counts.items() if count):
        responses = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        code, message, _, _, entries = responses[0].resources[0]
        if for_code(code) is not NoError:
            findings.append(
                note(
                    "kafka.configuration",
                    f"retention of {topic} can't be seen: {message or for_code(code).__name__}",
                    f"give this account the right to DESCRIBE_CONFIGS of {topic}, or look yourself",
                )
            )
            continue
        findings += configuration_problems(topic, {entry[0]: entry[1] or "" for entry in entries}, settings)
    if counts and not findings:
        findings.append(ok("kafka.configuration", "retention and timestamps of the event topics lose no event"))
    return findings


def configuration_problems(topic: str, config: Mapping[str, str], settings: Settings) -> list[Finding]:
    """Findings about the configuration of one event topic.

    Args:
        topic: its name in Kafka.
        config: values by their names in Kafka.
        settings: for commands.
    """

    def alter(to: str) -> str:
        return ALTER.format(kafka=settings.kafka, topic=topic, to=to)

    found = []
    if "compact" in config.get("cleanup.policy", ""):
        found.append(
            error(
                "kafka.retention",
                f"{topic} is compacted: of the events with one key, all but the last are removed",
                alter("cleanup.policy=delete"),
            )
        )
    retention = int(config.get("retention.ms") or -1)
    if 0 <= retention < SHORT_RETENTION_MS:
        found.append(
            warning(
                "kafka.retention",
                f"{topic} keeps records for {retention / 3_600_000:.1f} hours; after a longer outage events are lost",
                alter("retention.ms=604800000"),
            )
        )
    if config.get("message.timestamp.type") == "LogAppendTime":
        found.append(
            warning(
                "kafka.timestamps",
                f"{topic} replaces the times of records by their arrival: a replayed history is learned as new",
                alter("message.timestamp.type=CreateTime"),
            )
        )
    ahead = int(config.get("message.timestamp.after.max.ms") or MAX_AHEAD_MS)
    if ahead > 24 * MAX_AHEAD_MS:
        found.append(
            warning(
                "kafka.timestamps",
                f"{topic} takes records from the far future, so that one wrong clock can end its retention",
                alter(f"message.timestamp.after.max.ms={MAX_AHEAD_MS}"),
            )
        )
    return found


async def _rights(admin: Any, settings: Settings) -> list[Finding]:
    """Rights on the topics and on the consumer group that are missing."""
    rights = await ask_rights(admin._send_request, all_needs(settings))  # noqa: SLF001  aiokafka's admin has no name for it
    findings = [
        error("kafka.rights", f"this account has no right to {each}", grant_command(settings, each))
        for each in rights.missing
    ]
    if not rights.stated:
        findings.append(note("kafka.rights", "these brokers are older than 2.3 and don't say who may do what"))
    return findings or [ok("kafka.rights", "this account may read and write all topics, and read the group")]


async def _group(admin: Any, settings: Settings) -> list[Finding]:
    """The consumer group is this model's alone, and has a worker."""
    group = await describe_group(admin, settings.consumer_group)
    if reason := stranger(group, settings):
        found, _, mend = reason.partition(": ")
        return [error("kafka.group", found, mend or "set CORRENTE_GROUP to a name of its own")]
    count = len(group.clients)
    if not count:
        return [
            note("kafka.group", f"no worker is in the group {settings.consumer_group}", "start one: corrente worker")
        ]
    return [ok("kafka.group", f"{count} worker{'s' * (count != 1)} in the group {settings.consumer_group}")]
