"""The table of `make faults`: what counts as lost and as duplicated; a number that no test measures is not invented."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.fault_record import Account, Removed, StandstillClock, account, count_removed, removed_in
from tests.run_faults import any_wrong, measured, table

GOOD = {"name": "kills", "outcome": "passed", "sent": 1200, "lost": 0, "duplicated": 0, "removed": 0}
GOOD |= {"stood_still_seconds": 2.5}
WITHOUT_NUMBERS = {"name": "a_wrong_name", "outcome": "passed"}


@pytest.mark.parametrize(
    ("sent", "read", "removed", "expected"),
    [
        ({"clicks": 10}, {"clicks": 10}, {}, Account(10, 0, 0, 0, 1.5)),
        ({"clicks": 10}, {"clicks": 7}, {}, Account(10, 3, 0, 0, 1.5)),
        ({"clicks": 10}, {"clicks": 12}, {}, Account(10, 0, 2, 0, 1.5)),
        ({"clicks": 10}, {"clicks": 7}, {"clicks": 3}, Account(10, 0, 0, 3, 1.5)),
        ({"clicks": 10}, {"clicks": 10}, {"clicks": 3}, Account(10, 0, 3, 3, 1.5)),
        ({"clicks": 10, "purchases": 5}, {"clicks": 11, "purchases": 4}, {}, Account(15, 1, 1, 0, 1.5)),
        ({"clicks": 10}, {}, {}, Account(10, 10, 0, 0, 1.5)),
    ],
)
def test_a_record_is_lost_if_it_is_neither_learned_nor_counted_as_removed(sent, read, removed, expected) -> None:
    assert account(sent, read, removed, 1.5) == expected


def test_a_loss_that_two_workers_log_is_one_loss(tmp_path: Path) -> None:
    line = (
        "2026-01-01T00:00:00Z [error    ] Kafka's retention removed records before they were learned; raise "
        "the topic's retention.ms, or add workers first_kept=150 first_lost=100 kafka_partition=1 partition=1 "
        "records=50 topic=t-clicks [stream.runner.task]\n"
    )
    (tmp_path / "worker-0.log").write_text("started\n" + line)
    (tmp_path / "worker-1.log").write_text(line + line.replace("=150", "=170").replace("records=50", "records=70"))
    found = removed_in(tmp_path.glob("worker-*.log"))
    assert found == {Removed("t-clicks", 1, 100, 150), Removed("t-clicks", 1, 100, 170)}
    assert count_removed(found) == {"t-clicks": 70}


def test_a_shard_stands_still_while_records_wait_and_nothing_is_published() -> None:
    clock = StandstillClock(now=0.0)
    clock.look(5.0, reached=0, waiting=False)
    assert clock.longest_seconds == 0.0, "nothing waits"
    clock.look(6.0, reached=0, waiting=True)
    clock.look(7.0, reached=10, waiting=True)
    clock.look(7.5, reached=20, waiting=False)
    assert clock.longest_seconds == 2.0
    clock.look(8.0, reached=5, waiting=True)
    clock.look(11.0, reached=20, waiting=True)
    assert clock.longest_seconds == 3.5, "what is learned again is no progress"


def test_the_json_has_only_tests_that_measured_something() -> None:
    assert measured([GOOD, WITHOUT_NUMBERS]) == {
        "kills": {"sent": 1200, "lost": 0, "duplicated": 0, "stood_still_seconds": 2.5}
    }


@pytest.mark.parametrize("number", ["lost", "duplicated"])
def test_one_lost_or_duplicated_record_is_enough_to_fail(number: str) -> None:
    assert not any_wrong([GOOD, WITHOUT_NUMBERS])
    assert any_wrong([GOOD, GOOD | {number: 1}])


def test_the_table_has_a_line_for_every_test() -> None:
    heading, kills, name = table([GOOD, WITHOUT_NUMBERS]).strip().splitlines()
    assert heading.split()[:4] == ["fault", "sent", "lost", "duplicated"]
    assert kills.split() == ["kills", "1,200", "0", "0", "0", "2.5", "s", "passed"]
    assert name.split() == ["a", "wrong", "name", *"-----", "passed"]
