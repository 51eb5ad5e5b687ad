"""The table of `make faults`: what counts as lost and as duplicated; a number that no test measures is not invented."""

from __future__ import annotations

import pytest

from tests.integration.harness.fault_record import Account, StandstillClock, account
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
        ({"clicks": 10}, {"clicks": 10}, {"clicks": 3}, Account(10, 0, 0, 3, 1.5)),
        ({"clicks": 10, "purchases": 5}, {"clicks": 11, "purchases": 4}, {}, Account(15, 1, 1, 0, 1.5)),
        ({"clicks": 10}, {}, {}, Account(10, 10, 0, 0, 1.5)),
    ],
)
def test_a_record_is_lost_if_the_state_says_nothing_of_it(sent, read, removed, expected) -> None:
    assert account(sent, read, removed, 1.5) == expected


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
