"""Compile what workers, servers and evaluations call, so that no test compiles it or waits for a child that does.

    python -m tests.compile_kernels

Compiled kernels lie beside their modules and every later process reads them from there. On a fresh checkout that takes
minutes, and afterwards a few seconds. A test that compiled them would take a third longer for it, because coverage
traces the compiler. `corrente compile` does the same in an installation.

This file decides how others wait for the end of it: while it compiles, it holds the lock of `.cache/kernels.lock`.
"""

from __future__ import annotations

import fcntl
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(__file__).parents[1] / ".cache" / "kernels.lock"


@contextmanager
def nobody_else_compiles() -> Iterator[None]:
    """Wait until no other process is in this context, which ends with the process at the latest."""
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> None:
    # Numba makes millions of objects that stay: looking for garbage among them as often as usual takes a tenth of the
    # time of compiling.
    gc.set_threshold(50_000)
    with nobody_else_compiles():
        # Imported here, because importing them takes seconds in which a process that waits could pass.
        from serving.loading.warm_up import compile_kernels as compile_server
        from stream.evaluation.warm_up import compile_kernels as compile_evaluation
        from stream.models.settings import ModelSettings
        from stream.runner.warmup import compile_kernels as compile_worker

        settings = ModelSettings(max_items=256, max_visitors=256, max_sessions=256, max_event_ids=256)
        for compile_kernels in (compile_worker, compile_server, compile_evaluation):
            compile_kernels(settings)


if __name__ == "__main__":
    main()
