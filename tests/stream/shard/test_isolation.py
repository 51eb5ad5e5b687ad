"""The search for the record that fails: by halves, with few attempts, and stopped when the records aren't to blame."""

from __future__ import annotations

import random

import pytest

from stream.ingest.records import Record, Rejection
from stream.shard.isolation import MOST_ISOLATED, WINDOW_RECORDS, Isolation, TooManyFailures


def log_of(count: int, gap: int = 1) -> list[Record]:
    topics = ["clicks", "clicks", "purchases"]
    return [Record(topics[number % 3], number * gap, 0, b"") for number in range(count)]


def bounds(records: list[Record]) -> tuple[dict[str, int], dict[str, int]]:
    first = {record.origin: record.offset for record in reversed(records)}
    return first, {record.origin: record.offset + 1 for record in records}


class Learner:
    """Learns a log in batches; fails on some records, and goes back to the beginning then."""

    def __init__(self, log: list[Record], bad: set[int], batch: int) -> None:
        self.isolation, self.failures, self.learned = Isolation(), 0, []
        self._log, self._bad, self._batch = log, bad, batch

    def run(self) -> None:
        while not self._attempt():
            self.failures += 1
            assert self.failures < 500

    def _attempt(self) -> bool:
        isolation, self.learned = self.isolation, []
        for start in range(0, len(self._log), self._batch):
            for portion in isolation.portions(self._log[start : start + self._batch]):
                rejected = isolation.isolated_among(portion)
                good = [record for record in portion if record[:2] not in rejected]
                if any(record.offset in self._bad for record in good):
                    searching = isolation.searching
                    first, end = bounds(list(portion))
                    isolation.failed(first, end, len(portion), ZeroDivisionError("a bug"), published=False)
                    if searching:
                        isolation.isolate(sum(end.values()))
                    return False
                self.learned += good
                isolation.cleared(portion)
        return True


@pytest.mark.parametrize("seed", range(20))
def test_exactly_the_records_that_fail_are_isolated_after_a_number_of_attempts_that_grows_with_the_logarithm(
    seed: int,
) -> None:
    draw = random.Random(seed)
    log = log_of(1500, gap=draw.choice([1, 7]))
    bad = {record.offset for record in draw.sample(log, draw.randint(1, 4))}
    learner = Learner(log, bad, batch=draw.choice([100, 512]))
    learner.run()
    assert {offset for _, offset in learner.isolation.isolated} == bad
    assert learner.learned == [record for record in log if record.offset not in bad]
    assert not learner.isolation.searching
    assert learner.failures <= 12 * len(bad)


def test_a_failure_that_does_not_come_again_isolates_nothing() -> None:
    isolation, log = Isolation(), log_of(10)
    first, end = bounds(log)
    isolation.failed(first, end, 10, ZeroDivisionError(), published=False)
    for portion in isolation.portions(log):
        isolation.cleared(portion)
    assert not isolation.searching
    assert isolation.isolated == {}


def test_every_record_is_in_exactly_one_portion_and_the_halves_are_apart_from_what_surrounds_them() -> None:
    isolation, log = Isolation(), log_of(100)
    first, end = bounds(log[40:50])
    isolation.failed(first, end, 10, ZeroDivisionError(), published=False)
    portions = isolation.portions(log)
    assert [len(portion) for portion in portions] == [40, 5, 5, 50]
    assert [record for portion in portions for record in portion] == log
    assert isolation.portions([]) == []


def test_more_failures_than_may_be_isolated_are_not_the_records_fault() -> None:
    isolation = Isolation()
    for number in range(MOST_ISOLATED):
        isolation.failed({"clicks": number}, {"clicks": number + 1}, 1, ZeroDivisionError("a bug"), published=False)
        assert isolation.isolate(number) == ("clicks", number)
    isolation.failed({"clicks": 50}, {"clicks": 51}, 1, ZeroDivisionError("a bug"), published=False)
    with pytest.raises(TooManyFailures, match=r"more than 10 of 10000 records fail.*ZeroDivisionError: a bug"):
        isolation.isolate(50)
    assert isolation.searching, "it is tried again"
    assert isolation.isolate(WINDOW_RECORDS + 100) == ("clicks", 50)


def test_records_that_decoding_isolates_count_too_and_only_once() -> None:
    isolation = Isolation()
    rejections = [Rejection(record, "failed: a bug", isolated=True) for record in log_of(8)]
    isolation.admit(rejections, 0)
    isolation.admit(rejections, 0)
    assert len(isolation.isolated) == 8
    isolation.admit([Rejection(Record("clicks", 900, 0, b""), "value: known")], 0)
    with pytest.raises(TooManyFailures):
        isolation.admit([Rejection(record, "failed", isolated=True) for record in log_of(4, gap=1000)], 0)
