"""Every kind of connection to Kafka, on a real broker: it works, its session may end, and mistakes are named."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import aiokafka.client
import pytest
import typer
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from confluent_kafka.admin import AclOperation, ResourceType
from structlog import get_logger
from structlog.testing import capture_logs
from typer.testing import CliRunner

from benchmarks.harness.servers import free_port
from simulators.cli import replay
from stream.kafka.connection.diagnosis import find_problem
from stream.kafka.connection.options import client_options
from stream.kafka.connection.rights import Needs, all_needs, learner_needs, letter_needs, poster_needs
from stream.kafka.dead_letters_cli import app as dead_letters
from stream.kafka.refusals import CannotLearn
from stream.kafka.topics import find_topics
from stream.settings import Settings, load_settings
from tests.connections.conftest import SHORT_SESSION_SECONDS
from tests.connections.kafka_side import SIDES, STRANGER, SecuredKafka
from tests.integration.harness import kafka_client

LONGEST_SECONDS = 10.0
"""Time within which every mistake is named."""

_numbers = itertools.count(1)


@pytest.fixture
def topics(secured_kafka: SecuredKafka) -> dict[str, str]:
    """Settings of topics that no other test has: clicks and dead letters exist, and only `USER` has rights on them."""
    name = f"c{os.getpid()}-{next(_numbers)}"
    made = [f"{name}-clicks", f"{name}-dead-letters"]
    kafka_client.make_topics(secured_kafka.server.bootstrap, dict.fromkeys(made, 1))
    return {"CORRENTE_CLICKS_TOPIC": made[0], "CORRENTE_DEAD_LETTERS_TOPIC": made[1], "CORRENTE_GROUP": name}


async def round_trip(settings: Settings, values: list[bytes]) -> list[bytes]:
    """Write records to the topic of clicks, and read everything that it holds."""
    topic = settings.clicks_topic
    async with AIOKafkaProducer(**client_options(settings), acks="all") as producer:
        for value in values:
            await producer.send_and_wait(topic, value)
    consumer = AIOKafkaConsumer(**client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest")
    async with consumer:
        consumer.assign([TopicPartition(topic, 0)])
        read: list[bytes] = []
        while len(read) < len(values):
            read += [each.value for found in (await consumer.getmany(timeout_ms=500)).values() for each in found]
    return read


@pytest.mark.parametrize("name", SIDES)
async def test_every_kind_connects_and_its_mistake_is_named(
    secured_kafka: SecuredKafka, topics: dict[str, str], name: str
) -> None:
    side = secured_kafka.side(name)
    if name == "ACL denied":
        secured_kafka.keep_strangers_out([topics["CORRENTE_CLICKS_TOPIC"], topics["CORRENTE_DEAD_LETTERS_TOPIC"]])
    settings = load_settings(topics | side.environment)
    assert await find_problem(settings, learner_needs(settings)) is None
    assert await round_trip(settings, [b"a", b"b"]) == [b"a", b"b"]

    wrong = load_settings(topics | side.environment | side.wrong)
    began = time.monotonic()
    problem = await find_problem(wrong, learner_needs(wrong))
    assert problem is not None
    assert side.wrong_says in problem.text
    assert "\n" not in problem.text
    assert time.monotonic() - began < LONGEST_SECONDS, "a stated limit, not a speed"
    for secret in ("k#fka", "another"):
        assert secret not in problem.text


async def test_sessions_that_end_lose_no_record_and_log_one_line(
    secured_kafka: SecuredKafka,
    topics: dict[str, str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = load_settings(topics | secured_kafka.side("SCRAM-512").environment)
    options = client_options(settings)
    opened = []
    connect = aiokafka.client.create_conn

    async def counted(*place: object, **more: object) -> object:
        opened.append(connection := await connect(*place, **more))
        return connection

    monkeypatch.setattr(aiokafka.client, "create_conn", counted)
    monkeypatch.setattr("stream.kafka.connection.sessions._announced", threading.Event())
    caplog.set_level(logging.INFO)
    partition = TopicPartition(settings.clicks_topic, 0)
    sent: list[bytes] = []
    read: list[bytes] = []
    with capture_logs() as lines:
        async with (
            AIOKafkaProducer(**options, enable_idempotence=True) as producer,
            AIOKafkaConsumer(**options, enable_auto_commit=False, auto_offset_reset="earliest") as consumer,
        ):
            consumer.assign([partition])

            async def write() -> None:
                while len([each for each in opened if not each.connected()]) < 6:
                    sent.append(b"%d" % len(sent))
                    await producer.send_and_wait(settings.clicks_topic, sent[-1])
                    await asyncio.sleep(0.005)  # spares the processor; what is asserted doesn't depend on it

            writing = asyncio.create_task(write())
            while not writing.done() or len(read) < len(sent):
                read += [each.value for found in (await consumer.getmany(timeout_ms=50)).values() for each in found]
            await writing
    assert read == sent
    assert [each.message for each in caplog.records if each.levelno >= logging.WARNING] == []
    assert [line["event"] for line in lines] == ["Kafka ends sessions; connections are replaced before"]
    assert lines[0]["session_seconds"] == SHORT_SESSION_SECONDS or "CONNECTIONS" in os.environ


@pytest.mark.parametrize(
    ("needs", "operation", "topic"),
    [
        (learner_needs, "Read", "CORRENTE_CLICKS_TOPIC"),
        (learner_needs, "Write", "CORRENTE_DEAD_LETTERS_TOPIC"),
        (poster_needs, "Write", "CORRENTE_CLICKS_TOPIC"),
        (letter_needs, "Read", "CORRENTE_DEAD_LETTERS_TOPIC"),
    ],
)
async def test_a_missing_right_is_named_with_the_command_that_gives_it(
    secured_kafka: SecuredKafka,
    topics: dict[str, str],
    needs: Callable[[Settings], Needs],
    operation: str,
    topic: str,
) -> None:
    side = secured_kafka.side("ACL denied")
    secured_kafka.allow(STRANGER, AclOperation.DESCRIBE, [topics[topic]])
    settings = load_settings(topics | side.environment | side.wrong)
    problem = await find_problem(settings, needs(settings))
    assert problem is not None
    assert problem.may_heal
    assert (
        f"kafka-acls.sh --bootstrap-server {settings.kafka} --add --allow-principal User:{STRANGER} --operation "
        f"{operation} --topic {topics[topic]}" in problem.text
    )


async def test_a_group_that_may_be_seen_and_not_read_is_named(
    secured_kafka: SecuredKafka, topics: dict[str, str]
) -> None:
    side = secured_kafka.side("ACL denied")
    settings = load_settings(topics | side.environment | side.wrong)
    secured_kafka.allow(STRANGER, AclOperation.DESCRIBE, [settings.consumer_group], ResourceType.GROUP)
    problem = await find_problem(settings, Needs({}, settings.consumer_group))
    assert problem is not None
    assert f"has no right to Read on the group {settings.consumer_group}. Give it: " in problem.text
    assert problem.text.endswith(f" --operation Read --group {settings.consumer_group}")


async def test_all_rights_that_are_missing_on_one_topic_are_given_by_one_command(
    secured_kafka: SecuredKafka, topics: dict[str, str]
) -> None:
    side = secured_kafka.side("ACL denied")
    settings = load_settings(topics | side.environment | side.wrong)
    clicks = settings.clicks_topic
    secured_kafka.allow(STRANGER, AclOperation.DESCRIBE, [clicks])
    problem = await find_problem(settings, Needs({clicks: all_needs(settings).topics[clicks]}))
    assert problem is not None
    assert f"has no right to Read and Write on the topic {clicks}. Give it: " in problem.text
    assert problem.text.endswith(f" --operation Read --operation Write --topic {clicks}")


def mistakes(kafka: SecuredKafka) -> dict[str, tuple[dict[str, str], str]]:
    """Settings with a mistake, and a part of what is said of it."""
    ca = {"CORRENTE_KAFKA_SSL_CA_LOCATION": str(kafka.certificates.ca)}
    _, _, tls_port = kafka.address("TLS").partition(":")
    plain = kafka.side("SASL_PLAIN").environment
    return {
        "plain to TLS": ({"CORRENTE_KAFKA": kafka.address("TLS")}, "speaks TLS"),
        "TLS to plain": (
            {"CORRENTE_KAFKA": f"SSL://{kafka.server.bootstrap}"},
            "needs CORRENTE_KAFKA_SECURITY_PROTOCOL",
        ),
        "TLS to SASL": ({"CORRENTE_KAFKA": f"SSL://{kafka.address('SCRAM')}", **ca}, "PROTOCOL=SASL_SSL"),
        "SASL to TLS": ({**plain, "CORRENTE_KAFKA": f"SASL_SSL://{kafka.address('TLS')}"}, "PROTOCOL=SSL"),
        "other mechanism": ({**plain, "CORRENTE_KAFKA": f"SASL_SSL://{kafka.address('SCRAM')}"}, "doesn't offer PLAIN"),
        "other host": ({"CORRENTE_KAFKA": f"SSL://127.0.0.2:{tls_port}", **ca}, "certificate is not for '127.0.0.2'"),
        "unknown authority": ({"CORRENTE_KAFKA": f"SSL://{kafka.address('TLS')}"}, "CORRENTE_KAFKA_SSL_CA_LOCATION"),
        "unknown host": ({"CORRENTE_KAFKA": "nowhere.invalid:9092"}, "'nowhere.invalid' can't be resolved"),
        "nothing there": ({"CORRENTE_KAFKA": f"127.0.0.1:{free_port()}"}, "nothing listens there"),
    }


async def test_every_mistake_is_named_in_one_line(secured_kafka: SecuredKafka) -> None:
    for name, (given, said) in mistakes(secured_kafka).items():
        began = time.monotonic()
        problem = await find_problem(load_settings(given))
        assert problem is not None, name
        assert said in problem.text, f"{name}: {problem.text}"
        assert "\n" not in problem.text
        assert time.monotonic() - began < LONGEST_SECONDS, f"{name}: a stated limit, not a speed"


async def test_a_worker_ends_at_once_if_waiting_mends_nothing(
    secured_kafka: SecuredKafka, topics: dict[str, str]
) -> None:
    side = secured_kafka.side("SCRAM-512")
    with pytest.raises(CannotLearn, match="refuses the user 'corrente' or its password"):
        await find_topics(load_settings(topics | side.environment | side.wrong), patience_seconds=3600.0)


async def test_a_broker_that_dies_while_a_client_connects_is_waited_for(secured_kafka: SecuredKafka) -> None:
    async def end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    dying = await asyncio.start_server(end, "127.0.0.1", 0)
    place = f"127.0.0.1:{dying.sockets[0].getsockname()[1]}"
    async with dying:
        for kind in SIDES:
            given = secured_kafka.side(kind).environment
            protocol, _, _ = given["CORRENTE_KAFKA"].rpartition("://")
            problem = await find_problem(
                load_settings(given | {"CORRENTE_KAFKA": f"{protocol or 'PLAINTEXT'}://{place}"})
            )
            assert problem is not None
            assert problem.may_heal, f"{kind}: {problem.text}"


async def test_a_worker_waits_for_a_right_that_is_given_and_says_once_that_it_does(
    secured_kafka: SecuredKafka, topics: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.kafka.topics.CONNECT_SECONDS", 0.02)
    monkeypatch.setattr(
        "stream.kafka.topics.log", get_logger()
    )  # an earlier test may have bound it to other processors
    side = secured_kafka.side("ACL denied")
    names = [topics["CORRENTE_CLICKS_TOPIC"], topics["CORRENTE_DEAD_LETTERS_TOPIC"]]
    await asyncio.to_thread(secured_kafka.keep_strangers_out, names)
    settings = load_settings(topics | side.environment | side.wrong)
    with capture_logs() as lines:
        finding = asyncio.create_task(find_topics(settings))
        while not lines:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(secured_kafka.allow, STRANGER, AclOperation.ALL, names)
        assert (await finding)[settings.clicks_topic] == 1
    waiting = [line for line in lines if line["event"] == "Kafka can't be used yet"]
    assert len({line["reason"] for line in waiting}) == len(waiting) >= 1
    assert "has no right to" in waiting[0]["reason"]


@pytest.mark.parametrize("kind", ["OAUTHBEARER", "SCRAM-256", "PLAINTEXT"])
@pytest.mark.parametrize("command", ["dead-letters", "replay"])
def test_a_command_names_its_mistake_and_ends_with_one(
    secured_kafka: SecuredKafka, topics: dict[str, str], tmp_path: Path, command: str, kind: str
) -> None:
    side = secured_kafka.side(kind)
    history = tmp_path / "history.jsonl"
    history.write_text('{"user": "ada", "item": "teapot", "timestamp": 1750000000}\n')
    app, arguments = {
        "dead-letters": (dead_letters, ["list"]),
        "replay": (as_app(replay), [str(history), "--via", "kafka", "--kind", "click"]),
    }[command]
    ended = CliRunner().invoke(app, arguments, env=topics | side.environment | side.wrong)
    assert ended.exit_code == 1
    assert ended.stderr.count("\n") == 1, ended.stderr
    assert ended.stderr.startswith(f"corrente {command}: ")
    assert side.wrong_says in ended.stderr


def as_app(command: Callable[..., None]) -> typer.Typer:
    """A command as an app of its own."""
    app = typer.Typer()
    app.command()(command)
    return app
