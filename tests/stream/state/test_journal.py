"""Journals: read back as they were written, in each format, cut and joined with their isolated and counted records."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest

from stream.state.journal import CorruptJournal, Journal, concatenate


def journal_of(*ends: tuple[int, int], **places: dict[str, list[int]]) -> Journal:
    return Journal(["clicks", "purchases"], np.full(len(ends), 0.5), np.array(ends, np.int64), **places)


@pytest.mark.parametrize("counted", [{}, {"clicks": [0, 1, 8], "purchases": [2]}])
@pytest.mark.parametrize("isolated", [{}, {"clicks": [3, 9]}])
def test_a_journal_is_read_back_as_it_was_written(
    isolated: dict[str, list[int]], counted: dict[str, list[int]]
) -> None:
    journal = journal_of((5, 0), (12, 3), isolated=isolated, counted=counted)
    assert Journal.decode(journal.encode()) == journal


def test_a_journal_without_isolated_records_is_in_the_format_that_release_0_1_reads() -> None:
    encoded = journal_of((5, 0)).encode()
    assert msgspec.msgpack.decode(zlib.decompress(encoded))[0] == 1
    steps = np.array([[5, 7], [0, 3]], "<i8")
    first = [1, ["clicks", "purchases"], np.array([0.5, 0.5], "<f8").tobytes(), steps.tobytes()]
    assert Journal.decode(zlib.compress(msgspec.msgpack.encode(first))) == journal_of((5, 0), (12, 3))


def test_a_format_of_a_later_release_is_refused_with_those_that_are_read() -> None:
    with pytest.raises(CorruptJournal, match="format 4; this release reads formats 1 to 3"):
        Journal.decode(zlib.compress(msgspec.msgpack.encode([4, [], b"", b""])))


@pytest.mark.parametrize("encoded", [b"", b"no zlib", zlib.compress(b"\xc1"), zlib.compress(b"\x90")])
def test_other_bytes_are_no_journal(encoded: bytes) -> None:
    with pytest.raises(CorruptJournal, match="no encoded journal"):
        Journal.decode(encoded)


@pytest.mark.parametrize("kind", ["isolated", "counted"])
def test_places_stay_with_the_batches_behind_an_offset_and_are_joined_with_them(kind: str) -> None:
    journal = journal_of((5, 0), (12, 3), **{kind: {"clicks": [3, 9], "purchases": [0]}})
    assert getattr(journal.after({"clicks": 5, "purchases": 1}), kind) == {"clicks": [9]}
    later = journal_of((20, 3), **{kind: {"clicks": [15]}})
    assert getattr(concatenate([journal, later]), kind) == {"clicks": [3, 9, 15], "purchases": [0]}
