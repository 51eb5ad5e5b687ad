"""Large pieces of memory that were freed are not kept by the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

MANY_PIECES = """
import sys, threading
from pathlib import Path
from stream.runtime.malloc import return_large_pieces

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def work(kept):
    for _ in range(3):
        pieces = [bytearray(2**20) for _ in range(100)]  # the first ones teach glibc to call a MiB small
        kept.append(pieces[::33])  # and some stay, so that a heap can't shrink

assert return_large_pieces()
before, kept = resident(), []
threads = [threading.Thread(target=work, args=(kept,)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
held = sum(len(piece) for pieces in kept for piece in pieces)
print((resident() - before) / held)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have ways of their own")
def test_a_process_keeps_no_large_pieces_that_it_freed() -> None:
    result = subprocess.run([sys.executable, "-c", MANY_PIECES], capture_output=True, text=True, check=True)
    assert float(result.stdout) < 1.2
