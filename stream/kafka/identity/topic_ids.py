"""Identities of topics: the cluster's id, and the id that Kafka gives to each topic that is created (KIP-516).

The question (`stream.kafka.connection.metadata` has its form) is asked once at the start of sessions. A broker before
Kafka 3.1, which can't be asked for records by ids (`fetch_by_id`), is asked before each version becomes visible. The
topics of a broker without ids (before Kafka 2.8) have an empty id.

This file decides how identities are looked up, which broker is asked, and what is raised if a topic is another one than
it was.
"""

from __future__ import annotations

import asyncio
import base64
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NoError, NotLeaderForPartitionError, for_code
from faust.types import TP

from stream.kafka.connection.metadata import NO_ID, MetadataReply, Question, UnreadMetadata
from stream.kafka.connection.options import client_options
from stream.kafka.identity.errors import IdentitiesUnknown, OtherTopic
from stream.kafka.identity.witness import read_witness, witness_request
from stream.settings import Settings
from stream.shard.logs import LogId

LOOK_SECONDS = 10.0
"""Longest wait for an answer."""

ATTEMPTS = 3
"""Number of questions, while partitions move from broker to broker, before nothing is known."""


class Answer(NamedTuple):
    """The answer of one broker.

    Attributes:
        cluster: id of the cluster; empty if there is none.
        ids: id of each topic, as Kafka's tools write it; empty if there is none.
        leaders: number of the broker that each partition is read from, of each topic.
    """

    cluster: str
    ids: Mapping[str, str]
    leaders: Mapping[str, Mapping[int, int]]


class TopicIds:
    """Looks up identities. It connects when it is first used, to be used by one event loop.

    Args:
        settings: addresses and security of Kafka.
        connect: makes a client of aiokafka, not started yet.
    """

    def __init__(self, settings: Settings, connect: Callable[[Settings], Any] | None = None) -> None:
        self._settings = settings
        self._connect = connect or _connect
        self._client: Any = None
        self._connecting = asyncio.Lock()
        self._leaders: dict[TP, int] = {}
        self._questions: dict[frozenset[str], Question] = {}
        self._newest: dict[tuple[int, frozenset[str]], tuple[bytes, Answer]] = {}

    async def look_up(self, partitions: Iterable[TP]) -> dict[TP, LogId]:
        """The identity of the log of each topic-partition. Waits for Kafka.

        Raises:
            IdentitiesUnknown: no answer, or a topic is missing.
        """
        wanted = list(partitions)
        answer = await self._ask(None, {tp.topic for tp in wanted})
        self._note_leaders(answer)
        return {tp: LogId(answer.cluster, answer.ids[tp.topic], tp.topic, tp.partition) for tp in wanted}

    async def partitions(self, topic: str) -> dict[TP, LogId]:
        """The identity of the log of each partition that a topic has.

        Raises:
            IdentitiesUnknown: no answer, or the topic is missing.
        """
        answer = await self._ask(None, {topic})
        return {
            TP(topic, partition): LogId(answer.cluster, answer.ids[topic], topic, partition)
            for partition in answer.leaders[topic]
        }

    async def confirm(self, bound: Mapping[TP, LogId]) -> None:
        """Return if topics are still the ones that they were when this was called.

        Each partition's leader is asked, because it is the one that gives its records: another broker may know of a
        new topic later.

        Raises:
            IdentitiesUnknown: no answer.
            OtherTopic: a topic is another one.
        """
        open_questions = {tp: found for tp, found in bound.items() if found.topic_id}
        for _ in range(ATTEMPTS):
            by_leader: dict[int | None, list[TP]] = defaultdict(list)
            for tp in open_questions:
                by_leader[self._leaders.get(tp)].append(tp)
            asked = [self._ask(node, {tp.topic for tp in tps}) for node, tps in by_leader.items()]
            answers = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
            for (node, tps), answer in zip(by_leader.items(), answers, strict=True):
                self._note_leaders(answer)
                for tp in tps:
                    before, now = open_questions[tp].topic_id, answer.ids[tp.topic]
                    if now != before:
                        raise OtherTopic(
                            f"the topic {tp.topic} was created again: its id was {before} and is {now or 'unknown'}; "
                            "it is learned from its beginning"
                        )
                    if node == answer.leaders[tp.topic].get(tp.partition):
                        del open_questions[tp]
            if not open_questions:
                return
        moving = ", ".join(sorted({tp.topic for tp in open_questions}))
        raise IdentitiesUnknown(f"Kafka does not say who leads the partitions of {moving}; it is asked again")

    async def witness(self, tp: TP, offset: int) -> str:
        """The first record of a topic-partition from an offset on, as `stream.kafka.identity.witness` has it.

        Raises:
            IdentitiesUnknown: no answer.
        """
        for _ in range(ATTEMPTS):
            try:
                client = await self._connected()
                node = self._leaders.get(tp)
                reply = await client.send(
                    client.get_random_node() if node is None else node, witness_request(tp, offset)
                )
                return read_witness(reply, offset)
            except NotLeaderForPartitionError:
                self._note_leaders(await self._ask(None, {tp.topic}))
            except (KafkaError, TimeoutError, OSError) as error:
                await self.close()
                raise IdentitiesUnknown(
                    f"Kafka at {self._settings.kafka} does not give a record of {tp.topic}-{tp.partition}: {error!r}. "
                    f"{_remedy(error)}"
                ) from error
        raise IdentitiesUnknown(f"Kafka does not say who leads {tp.topic}-{tp.partition}; it is asked again")

    async def close(self) -> None:
        """Close the connections; the next question makes new ones."""
        client, self._client = self._client, None
        self._leaders.clear()
        self._newest.clear()
        if client is not None:
            await client.close()

    def _note_leaders(self, answer: Answer) -> None:
        for topic, leaders in answer.leaders.items():
            for partition, node in leaders.items():
                self._leaders[TP(topic, partition)] = node

    async def _ask(self, node: int | None, names: Iterable[str]) -> Answer:
        """Ask one broker, any for None. Raises `IdentitiesUnknown`."""
        wanted = frozenset(names)
        try:
            client = await self._connected()
            asked = client.get_random_node() if node is None else node
            if wanted not in self._questions:
                self._questions[wanted] = Question(wanted)
            reply = await client.send(asked, self._questions[wanted])
        except (KafkaError, TimeoutError, OSError, NotImplementedError) as error:
            await self.close()
            raise IdentitiesUnknown(
                f"Kafka at {self._settings.kafka} does not say which topics it has: {error!r}. {_remedy(error)}"
            ) from error
        if not isinstance(reply, UnreadMetadata):
            return _read(reply)
        raw, answer = self._newest.get((asked, wanted), (b"", None))
        if answer is None or raw != reply.raw:
            answer = _read(MetadataReply.decode(reply.raw))
            self._newest[asked, wanted] = reply.raw, answer
        return answer

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._client is None:
                client = self._connect(self._settings)
                try:
                    await client.bootstrap()
                except BaseException:
                    await client.close()
                    raise
                self._client = client
            return self._client


def _connect(settings: Settings) -> Any:
    return AIOKafkaClient(**client_options(settings), request_timeout_ms=int(1000 * LOOK_SECONDS))


def _remedy(error: Exception) -> str:
    if isinstance(error, NotImplementedError | IncompatibleBrokerVersion):
        return "Brokers before Kafka 0.11 are not supported."
    return "It is asked again until it answers."


def _read(reply: Any) -> Answer:
    """The answer in a reply of either version. Raises `IdentitiesUnknown` if a topic is missing."""
    has_ids = reply.API_VERSION >= MetadataReply.API_VERSION
    ids: dict[str, str] = {}
    leaders: dict[str, dict[int, int]] = {}
    for code, name, *rest in reply.topics:
        if (error := for_code(code)) is not NoError:
            raise IdentitiesUnknown(
                f"Kafka does not say what the topic {name} is: {error.__name__}. It is asked again; see "
                f"kafka-topics.sh --describe --topic {name}"
            )
        topic_id = rest[0] if has_ids else NO_ID
        ids[name] = "" if topic_id == NO_ID else base64.b64encode(topic_id).decode().rstrip("=")
        leaders[name] = {partition: leader for _, partition, leader, *_ in rest[2 if has_ids else 1]}
    return Answer(reply.cluster_id or "", ids, leaders)
