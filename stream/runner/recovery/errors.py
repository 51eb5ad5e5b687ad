"""Errors of recovery: what keeps a shard from being opened.

This file decides these kinds. What is said of each is decided in `causes`.
"""

from __future__ import annotations

from stream.kafka.refusals import CannotLearn

NEW_LINEAGE = "corrente versions new-lineage"
"""Command that lets a model begin anew with other settings."""


class WrongCluster(CannotLearn):
    """The model has learned from another Kafka cluster."""


class WrongModelSettings(CannotLearn):
    """The tables of the model can't be brought to this worker's settings."""


class EvictingRedis(CannotLearn):
    """This Redis may evict parts of versions."""


class KafkaLostRecords(RuntimeError):
    """These are not the logs that were learned from, or they are shorter than they were; nothing is learned."""
