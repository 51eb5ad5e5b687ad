"""The reports of workers as a loader asks for them: seldom, and silence means something only while Redis answers."""

from __future__ import annotations

import pytest
import redis.exceptions

from serving.loading.learning import LOOK_SECONDS, LearningWatch
from stream.versions import StoppedShard
from stream.versions.storage.reports import NO_WORKER, SILENT_SECONDS

STANDS = StoppedShard(0, 1.0, "redis", "no answer", "start Redis", "one", [])
SILENT = StoppedShard(1, 2.0, NO_WORKER, "worker two reports it no longer", "start a worker", "two", [])


class FakeStore:
    """A store with one shard that stands still and one whose worker is silent."""

    def __init__(self) -> None:
        self.questions = 0
        self.error: Exception | None = None

    def stopped_shards(self, _: float, *, silence_counts: bool) -> list[StoppedShard]:
        self.questions += 1
        if self.error:
            raise self.error
        return [STANDS, SILENT] if silence_counts else [STANDS]


def test_redis_is_asked_once_a_second_however_many_versions_come() -> None:
    store = FakeStore()
    watch = LearningWatch(store)
    for step in range(40):
        assert watch.look(100.0 + step * LOOK_SECONDS / 8, 0.0) == (STANDS,)
    assert store.questions == 5


def test_silence_means_something_once_redis_has_answered_for_as_long_as_a_report_holds() -> None:
    store = FakeStore()
    watch = LearningWatch(store)
    assert watch.look(100.0, 0.0) == (STANDS,)
    assert watch.look(100.0 + SILENT_SECONDS - 1, 0.0) == (STANDS,)
    assert watch.look(100.0 + SILENT_SECONDS, 0.0) == (STANDS, SILENT)


def test_after_an_outage_of_redis_every_report_is_old_and_silence_means_nothing_for_a_while() -> None:
    store = FakeStore()
    watch = LearningWatch(store)
    watch.look(100.0, 0.0)
    assert watch.look(200.0, 0.0) == (STANDS, SILENT)
    store.error = redis.exceptions.ConnectionError("no answer")
    with pytest.raises(redis.exceptions.ConnectionError):
        watch.look(300.0, 0.0)
    watch.redis_failed()
    store.error = None
    assert watch.look(400.0, 0.0) == (STANDS,)
    assert watch.look(400.0 + SILENT_SECONDS, 0.0) == (STANDS, SILENT)
