"""A worker that has checked Kafka and then waits for a file before it connects to its group; the real one otherwise.

LATE_WORKER_WAITS_FOR=file python -m tests.integration.harness.late_worker
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from stream.worker import Worker
from stream.worker_cli import worker

WAITS_FOR = "LATE_WORKER_WAITS_FOR"
"""Variable that names the file."""


def main() -> None:
    prepare, is_there = Worker.prepare, Path(os.environ[WAITS_FOR]).exists

    async def prepare_and_wait(each: Worker) -> None:
        await prepare(each)
        while not is_there():
            await asyncio.sleep(0.02)

    Worker.prepare = prepare_and_wait  # type: ignore[method-assign]  the seam of this test
    worker()


if __name__ == "__main__":
    main()
