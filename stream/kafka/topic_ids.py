"""Identities of topics: the cluster's id, and the id that Kafka gives to each topic that is created (KIP-516).

aiokafka's protocol has neither, so confluent-kafka's admin client is asked. The topics of a broker without ids (before
Kafka 2.8, and the embedded one) have an empty id.

This file decides how identities are looked up, and what is raised if a topic is another one than it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from faust.types import TP
from structlog import get_logger

from stream.shard.logs import LogId

log = get_logger(__name__)

LOOK_SECONDS = 10.0
"""Longest wait for an answer."""

EMBEDDED_CLUSTER = "mockCluster"
"""First part of the id of librdkafka's own broker (`simulators.embedded`), which never answers the question for ids."""

NO_ID = "AAAAAAAAAAAAAAAAAAAAAA"
"""The id of 128 zero bits, which a broker without topic ids gives."""


class OtherTopic(RuntimeError):
    """A topic is not the one that it was when its records were fetched."""


class IdentitiesUnknown(RuntimeError):
    """Kafka did not say which topics there are; it may be away, or a topic may be missing."""


class TopicIds:
    """Looks up identities. It connects when it is first used, and may be used by several threads.

    Args:
        kafka: bootstrap servers.
        connect: makes an admin client of confluent-kafka.
    """

    def __init__(self, kafka: str, connect: Callable[[dict[str, Any]], Any] = AdminClient) -> None:
        self._kafka = kafka
        self._connect = connect
        self._admin: Any = None
        self._cluster = ""
        self._has_ids = True
        self._lock = threading.Lock()

    def look_up(self, partitions: Iterable[TP]) -> dict[TP, LogId]:
        """The identity of the log of each topic-partition. Waits for Kafka.

        Raises:
            IdentitiesUnknown: no answer, or a topic is missing.
        """
        wanted = list(partitions)
        ids = self.ask({tp.topic for tp in wanted})()
        return {tp: LogId(self._cluster, ids[tp.topic], tp.topic, tp.partition) for tp in wanted}

    def ask(self, names: Iterable[str]) -> Callable[[], dict[str, str]]:
        """Ask for the ids of topics; the returned function waits for the answer.

        Raises:
            IdentitiesUnknown: no answer, or a topic is missing; the returned function raises it too.
        """
        wanted = sorted(names)
        admin = self._client()
        if not self._has_ids:
            return lambda: dict.fromkeys(wanted, "")
        futures = admin.describe_topics(TopicCollection(wanted), request_timeout=LOOK_SECONDS)
        return lambda: {name: _id_of(name, future) for name, future in futures.items()}

    def confirm(self, bound: Mapping[TP, LogId]) -> Callable[[], None]:
        """Ask whether topics are still the ones that they were; the returned function waits for the answer.

        Raises:
            IdentitiesUnknown: no answer.
            OtherTopic: raised by the returned function: a topic is another one.
        """
        known = {tp.topic: found.topic_id for tp, found in bound.items() if found.topic_id}
        if not known:
            return lambda: None
        answer = self.ask(known)

        def check() -> None:
            for name, topic_id in answer().items():
                if topic_id != known[name]:
                    raise OtherTopic(f"the topic {name} was created again: its id was {known[name]} and is {topic_id}")

        return check

    def _client(self) -> Any:
        with self._lock:
            if self._admin is not None:
                return self._admin
            admin = self._connect({"bootstrap.servers": self._kafka, "log_level": 0})
            try:
                metadata = admin.list_topics(timeout=LOOK_SECONDS)
            except KafkaException as error:
                raise IdentitiesUnknown(f"Kafka at {self._kafka} does not say which cluster it is: {error}") from error
            self._cluster = metadata.cluster_id or ""
            self._has_ids = not self._cluster.startswith(EMBEDDED_CLUSTER)
            if not self._has_ids:
                log.info("Kafka has no topic ids; a topic that is created again is known by its length alone")
            self._admin = admin
            return admin


def _id_of(name: str, future: Future[Any]) -> str:
    try:
        found = str(future.result(LOOK_SECONDS).topic_id)
        return "" if found == NO_ID else found
    except (KafkaException, TimeoutError) as error:
        raise IdentitiesUnknown(f"Kafka does not say what the topic {name} is: {error!r}") from error
