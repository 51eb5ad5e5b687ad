"""Dead letters: read back as they were written, cut, never deleting themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.ingest.records import Record, Rejection
from stream.kafka.dead_letters import (
    MIN_REASON_CHARACTERS,
    DeadLetter,
    dead_letter,
    decode_letter,
    encode_letter,
    halved,
)

letters = st.builds(
    DeadLetter,
    topic=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1),
    partition=st.integers(0, 999),
    offset=st.integers(0, 2**62),
    key=st.none() | st.binary(max_size=20),
    value=st.binary(max_size=50),
    reason=st.text(st.characters(exclude_categories=["Cs"]), max_size=100),
    original_bytes=st.integers(50, 10_000_000),
    refused=st.booleans(),
    timestamp_ms=st.integers(0, 2**52),
)


@given(letters)
def test_a_letter_is_read_back_as_it_was_written(letter: DeadLetter) -> None:
    key, value, headers = encode_letter(letter)
    assert decode_letter(value, headers) == letter
    assert key.decode() == f"{letter.topic}-{letter.partition}-{letter.offset}"


def test_a_record_without_value_becomes_a_letter_that_compaction_keeps() -> None:
    record = Record("clicks", 7, 1000, None, b"ada")
    letter = dead_letter(Rejection(record, "value: the record is empty"), topic="shop.clicks", partition=3)
    key, value, headers = encode_letter(letter)
    assert (key, value) == (b"shop.clicks-3-7", b"")
    assert decode_letter(value, headers).value is None


def test_the_same_record_has_the_same_key_again() -> None:
    record = Record("clicks", 7, 1000, b"{", b"ada")
    keys = {
        encode_letter(dead_letter(Rejection(record, reason), topic="clicks", partition=0))[0]
        for reason in ("once", "again")
    }
    assert len(keys) == 1


def test_the_bytes_are_the_original_ones_and_a_cut_value_says_so() -> None:
    original = bytes(range(256))
    letter = dead_letter(Rejection(Record("clicks", 1, 1, original), "value: no JSON"), topic="clicks", partition=0)
    _, value, headers = encode_letter(letter)
    assert value == original
    assert not decode_letter(value, headers).cut
    assert decode_letter(value[:100], headers).cut


def test_another_record_in_the_topic_is_no_letter() -> None:
    with pytest.raises(ValueError, match="topic"):
        decode_letter(b"{}", [("reason", b"unknown")])


def test_a_letter_is_cut_at_its_largest_part_until_nothing_is_left() -> None:
    letter = DeadLetter("clicks", 0, 7, b"k" * 90, b"v" * 200, "r" * 300, 200, False, 1000)
    sizes = []
    while letter is not None:
        last, sizes = letter, [*sizes, (len(letter.value or b""), len(letter.key or b""), len(letter.reason))]
        letter = halved(letter)
    assert sizes[:4] == [(200, 90, 300), (200, 90, 150), (100, 90, 150), (100, 90, 75)]
    assert sizes[-1] == (0, 0, MIN_REASON_CHARACTERS)
    assert (last.cut, last.key_cut, last.original_bytes) == (True, True, 200)
    key, value, headers = encode_letter(last)
    assert decode_letter(value, headers) == last
    assert key == b"clicks-0-7"


def test_a_letter_without_value_and_key_has_nothing_to_cut() -> None:
    assert halved(DeadLetter("clicks", 0, 7, None, None, "value: the record is empty", 0, False, -1)) is None
