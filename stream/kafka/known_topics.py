"""The event topics as this worker knows them: from its start, from the watch, and from the leader of its group.

Partitions may be added and topics may appear while a worker runs. The leader of the group is the first to take them
into account; it says with every assignment what it knew, and a worker that was started with other settings ends.

This file decides which topics count as missing, when that is logged, and which assignments are not learned from.
"""

from __future__ import annotations

from collections.abc import Mapping

from structlog import get_logger

from stream.ingest.origins import origin_of
from stream.kafka.assignor import Terms, splits_by_shard
from stream.kafka.refusals import WrongShards
from stream.kafka.shard_count import check_topics
from stream.kafka.topics import log_missing
from stream.settings import Settings

log = get_logger(__name__)


class KnownTopics:
    """Numbers of partitions of the event topics.

    Args:
        settings: names of the topics, and the number of shards.

    Attributes:
        counts: number of partitions of each event topic, by its name in Kafka; 0 for a topic that isn't there.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._our_names = {kafka_name: topic for topic, kafka_name in settings.topics.items()}
        self._terms: Terms | None = None
        self._logged: list[str] = []
        self.counts: dict[str, int] = dict.fromkeys(settings.topics.values(), 0)

    @property
    def present(self) -> frozenset[str]:
        """The topics that are there, by their names in Kafka."""
        return frozenset(topic for topic, count in self.counts.items() if count)

    @property
    def missing(self) -> list[str]:
        """The topics that aren't there, by their names in Kafka."""
        return [topic for topic, count in self.counts.items() if not count]

    def origin(self, topic: str, partition: int) -> str:
        """The origin of the records of a partition, whose topic is given by its name in Kafka."""
        return origin_of(self._our_names[topic], partition, partition % self._settings.shards)

    def note(self, counts: Mapping[str, int]) -> None:
        """Take the numbers that Kafka has now.

        Raises:
            WrongShards: the number of shards doesn't fit them.
        """
        self.counts |= {topic: count for topic, count in counts.items() if topic in self.counts}
        check_topics(self.counts, self._settings)
        if self.missing != self._logged:
            self._logged = self.missing
            if self.missing:
                log_missing(self._settings, self.missing, max(self.counts.values()) or self._settings.partitions)

    def note_terms(self, terms: Terms) -> None:
        """Take the terms of the assignment that follows. May be called from another thread."""
        self._terms = terms

    def may_learn(self) -> bool:
        """Return False if an assignment may have torn shards, so that nothing of it is learned.

        Raises:
            WrongShards: the leader of the group was started with another number of shards, or with the numbers of
                partitions that it knows this one doesn't fit.
        """
        terms, settings = self._terms, self._settings
        if terms is None:
            return True
        if terms.shards is None:
            return splits_by_shard({topic: self.counts[topic] for topic in self.present}, settings.shards)
        if terms.shards != settings.shards:
            raise WrongShards(
                f"this worker has CORRENTE_SHARDS={settings.shards}, and the one that leads the consumer group "
                f"{settings.consumer_group!r} has {terms.shards}: all workers of a model need the same number. Start "
                f"this one with CORRENTE_SHARDS={terms.shards}, or stop the others first"
            )
        self.note({topic: count for topic, count in terms.counts.items() if count})
        return True
