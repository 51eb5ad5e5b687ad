"""Segments are one memory for all processes that map them, read-only for all but one, and leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from serving.memory.shared_segments import SharedSegments, map_segment

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="shared memory as only Linux has it")


def open_segments(name: str) -> int:
    """Open files of segments of this name; a mapping keeps one of its own."""
    found = 0
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile by another thread
            found += f"memfd:corrente-{name}" in str(each.readlink())
    return found


def test_a_write_shows_in_every_mapping():
    segments = SharedSegments()
    array = segments.allocate("rows", 10_000)
    segment = segments.segment_of(array)
    mapped = map_segment(os.dup(segment.file), segment.nbytes)
    array[:] = np.arange(10_000, dtype=np.uint8)
    assert np.array_equal(mapped, array)
    assert mapped.ctypes.data != array.ctypes.data


def test_a_view_that_begins_elsewhere_is_no_segment():
    segments = SharedSegments()
    array = segments.allocate("rows", 4096)
    assert segments.segment_of(array.view(np.uint64)).nbytes == 4096
    with pytest.raises(KeyError):
        segments.segment_of(array[1:])


def test_a_segment_and_its_file_end_with_the_last_view():
    segments = SharedSegments()
    array = segments.allocate("ends", 4096)
    view = array.view(np.uint32)[5:]
    del array
    assert (len(segments), open_segments("ends") > 0) == (1, True), "a view keeps it"
    del view
    assert (len(segments), open_segments("ends")) == (0, 0)


def test_a_mapping_outlives_the_segment_it_was_made_of():
    segments = SharedSegments()
    array = segments.allocate("rows", 4096)
    array[7] = 5
    mapped = map_segment(os.dup(segments.segment_of(array).file), 4096)
    tail = mapped[7:]
    del array, mapped
    assert tail[0] == 5


def test_a_process_that_writes_to_a_mapping_ends():
    program = (
        "import os; from serving.memory.shared_segments import SharedSegments, map_segment; "
        "s = SharedSegments(); a = s.allocate('rows', 4096); "
        "map_segment(os.dup(s.segment_of(a).file), 4096)[0] = 1"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, env={"PYTHONPATH": "."})
    assert ended.returncode == -signal.SIGSEGV


def test_a_file_that_cannot_be_mapped_is_closed_all_the_same():
    file = os.memfd_create("corrente-empty")
    with pytest.raises(ValueError, match="mmap length"):
        map_segment(file, 4096)  # the file is empty
    assert open_segments("empty") == 0
