"""Journals: read back as they were written, in both formats, cut and joined with their isolated records."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest

from stream.state.journal import CorruptJournal, Journal, concatenate


def journal_of(*ends: tuple[int, int], isolated: dict[str, list[int]] | None = None) -> Journal:
    return Journal(["clicks", "purchases"], np.full(len(ends), 0.5), np.array(ends, np.int64), isolated or {})


@pytest.mark.parametrize("isolated", [{}, {"clicks": [3, 9]}])
def test_a_journal_is_read_back_as_it_was_written(isolated: dict[str, list[int]]) -> None:
    journal = journal_of((5, 0), (12, 3), isolated=isolated)
    assert Journal.decode(journal.encode()) == journal


def test_a_journal_without_isolated_records_is_in_the_format_that_release_0_1_reads() -> None:
    encoded = journal_of((5, 0)).encode()
    assert msgspec.msgpack.decode(zlib.decompress(encoded))[0] == 1
    steps = np.array([[5, 7], [0, 3]], "<i8")
    first = [1, ["clicks", "purchases"], np.array([0.5, 0.5], "<f8").tobytes(), steps.tobytes()]
    assert Journal.decode(zlib.compress(msgspec.msgpack.encode(first))) == journal_of((5, 0), (12, 3))


def test_a_format_of_a_later_release_is_refused_with_those_that_are_read() -> None:
    with pytest.raises(CorruptJournal, match="format 3; this release reads formats 1 and 2"):
        Journal.decode(zlib.compress(msgspec.msgpack.encode([3, [], b"", b""])))


@pytest.mark.parametrize("encoded", [b"", b"no zlib", zlib.compress(b"\xc1"), zlib.compress(b"\x90")])
def test_other_bytes_are_no_journal(encoded: bytes) -> None:
    with pytest.raises(CorruptJournal, match="no encoded journal"):
        Journal.decode(encoded)


def test_isolated_records_stay_with_the_batches_behind_an_offset_and_are_joined_with_them() -> None:
    journal = journal_of((5, 0), (12, 3), isolated={"clicks": [3, 9], "purchases": [0]})
    assert journal.after({"clicks": 5, "purchases": 1}).isolated == {"clicks": [9]}
    later = journal_of((20, 3), isolated={"clicks": [15]})
    assert concatenate([journal, later]).isolated == {"clicks": [3, 9, 15], "purchases": [0]}
