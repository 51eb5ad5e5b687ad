"""The topics at start: created if they are missing, refused if the number of shards doesn't fit them.

`clicks`, `purchases` and `feedback` may have any numbers of partitions that the number of shards divides. If Corrente
may not create topics, the topic of clicks and that of dead letters have to be there; purchases and feedback are learned
from once their topic appears (`stream.kafka.watch`).

This file decides what is checked and created. It deletes and changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import InvalidConfigurationError, KafkaError, NoError, TopicAlreadyExistsError, for_code
from structlog import get_logger

from stream.kafka.connection.bootstrap import CONNECT_SECONDS, PATIENCE_SECONDS
from stream.kafka.connection.diagnosis import find_problem
from stream.kafka.connection.options import client_options
from stream.kafka.connection.rights import learner_needs
from stream.kafka.refusals import CannotLearn, WrongTopics
from stream.kafka.shard_count import check_topics
from stream.settings import Settings

log = get_logger(__name__)

MAX_AHEAD_MS = 3_600_000
"""Largest lead of a record's timestamp over the broker's clock, in topics that are created here. An hour is the default
of Kafka 4. Brokers before 3.6 don't know the setting, and get topics without it."""


def connect_admin(settings: Settings) -> Any:
    """An admin client, not started yet."""
    return AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=10_000)


async def find_topics(settings: Settings, *, patience_seconds: float = PATIENCE_SECONDS) -> dict[str, int]:
    """Wait until Kafka can be used, then do what `prepare_topics` does.

    The reason why it can't is logged once, within ten seconds of the start, and what waiting may mend is waited for.

    Raises:
        CannotLearn: Kafka can't be used; the text says why and what would be right.
        WrongTopics, WrongShards, KafkaError: as `prepare_topics` does.
    """
    deadline = asyncio.get_running_loop().time() + patience_seconds
    logged = ""
    while (problem := await find_problem(settings, learner_needs(settings))) is not None:
        if not problem.may_heal or asyncio.get_running_loop().time() > deadline:
            raise CannotLearn(problem.text)
        if problem.text != logged:
            logged = problem.text
            log.warning("Kafka can't be used yet", reason=problem.text, waiting_seconds=patience_seconds)
        await asyncio.sleep(CONNECT_SECONDS)
    return await prepare_topics(settings, patience_seconds=patience_seconds)


async def prepare_topics(
    settings: Settings,
    *,
    patience_seconds: float = PATIENCE_SECONDS,
    connect: Callable[[Settings], Any] = connect_admin,
) -> dict[str, int]:
    """Create missing topics, check the others, and return the number of partitions of each event topic.

    Args:
        settings: names of the topics, and whether they may be created.
        patience_seconds: longest time to wait for a broker.
        connect: makes an admin client, for each attempt a new one.

    Returns:
        By the topic's name in Kafka; 0 for a topic that is missing and that Corrente may not create.

    Raises:
        WrongTopics: a topic is missing without which nothing can be learned, and may not be created.
        WrongShards: the number of shards doesn't fit.
        KafkaError: no broker answered.
    """
    deadline = asyncio.get_running_loop().time() + patience_seconds
    while True:
        admin = connect(settings)
        try:
            await admin.start()
            return await _prepare(admin, settings)
        except (KafkaError, TimeoutError) as error:  # aiokafka lets some time limits through as they are
            if not getattr(error, "retriable", True) or asyncio.get_running_loop().time() > deadline:
                raise
            log.warning(
                "Kafka does not answer yet",
                kafka=settings.kafka,
                error=repr(error),
                mend="start it, or check CORRENTE_KAFKA",
            )
            await asyncio.sleep(CONNECT_SECONDS)
        finally:
            await admin.close()


async def _prepare(admin: Any, settings: Settings) -> dict[str, int]:
    names = list(settings.topics.values())
    found = await partition_counts(admin, [*names, settings.dead_letters_topic])
    missing = [name for name, count in found.items() if not count]
    needed = [name for name in missing if name in (settings.clicks_topic, settings.dead_letters_topic)]
    partitions = found[settings.clicks_topic] or max(found[name] for name in names) or settings.partitions
    if needed and not settings.create_topics:
        raise WrongTopics(
            f"Kafka at {settings.kafka} has no topic {', '.join(needed)}, and CORRENTE_CREATE_TOPICS is off. Create:\n"
            + "\n".join(_create_command(settings, name, partitions) for name in missing)
        )
    counts = {name: found[name] or (partitions if settings.create_topics else 0) for name in names}
    check_topics(counts, settings)
    if settings.create_topics:
        await _create(admin, settings, missing, partitions)
    return counts


def log_missing(settings: Settings, missing: list[str], partitions: int) -> None:
    """Say which topics are missing although learning can go on without them, and how to create them."""
    log.warning(
        "topics are missing; the others are learned, and these once they appear",
        topics=missing,
        create="; ".join(_create_command(settings, name, partitions).strip() for name in missing),
    )


async def _create(admin: Any, settings: Settings, names: list[str], partitions: int) -> None:
    for name in names:
        for_letters = name == settings.dead_letters_topic
        topic = NewTopic(
            name=name,
            num_partitions=1 if for_letters else partitions,
            replication_factor=1,
            topic_configs=dict(_configs(settings, name)),
        )
        topic.replication_factor = -1  # the broker's default, which the constructor refuses
        error = await _create_error(admin, topic)
        if isinstance(error, InvalidConfigurationError) and not for_letters:  # the broker doesn't know the bound
            topic.topic_configs = {}
            error = await _create_error(admin, topic)
        if error is None:
            log.info("created a topic", topic=name, partitions=topic.num_partitions)
        elif not isinstance(error, TopicAlreadyExistsError):  # another worker was faster
            raise WrongTopics(
                f"Kafka at {settings.kafka} refused to create the topic {name!r}: {error}. Create it yourself, or give "
                f"these workers the right to:\n{_create_command(settings, name, topic.num_partitions)}"
            )


async def _create_error(admin: Any, topic: NewTopic) -> KafkaError | None:
    """Create one topic; the broker's error, if it refused. An answer without an exception may still hold one.

    Raises:
        KafkaError: it may pass, so that the next attempt can succeed.
    """
    try:
        response = await admin.create_topics([topic])
        code, message = next((each[1], each[2] if len(each) > 2 else None) for each in response.topic_errors)
        error_type = for_code(code)
        if error_type is NoError:
            return None
        error = error_type(message) if message else error_type()
    except KafkaError as raised:
        error = raised
    if error.retriable:
        raise error
    return error


async def partition_counts(admin: Any, names: list[str]) -> dict[str, int]:
    """Number of partitions of each topic; 0 for a missing one."""
    existing = set(await admin.list_topics())
    described = await admin.describe_topics([name for name in names if name in existing]) if existing else []
    counts = {topic["topic"]: len(topic["partitions"]) for topic in described}
    return {name: counts.get(name, 0) for name in names}


def _create_command(settings: Settings, name: str, partitions: int) -> str:
    configs = "".join(f" --config {key}={value}" for key, value in _configs(settings, name).items())
    count = 1 if name == settings.dead_letters_topic else partitions
    return (
        f"  kafka-topics.sh --bootstrap-server {settings.kafka} --create --topic {name} --partitions {count}{configs}"
    )


def _configs(settings: Settings, name: str) -> Mapping[str, str]:
    """Configuration of a topic that is created.

    An event's time may not be far ahead of the broker's, else the broker refuses the record and its producer learns of
    it. Times in the past stay as they are (`LogAppendTime` would overwrite them), because histories are replayed with
    records of their own times.
    """
    if name == settings.dead_letters_topic:
        return {"cleanup.policy": "compact"}
    return {"message.timestamp.after.max.ms": str(MAX_AHEAD_MS)}
