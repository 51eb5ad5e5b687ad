"""A plain Faust agent that only counts: one agent over the three topics, raw bytes, Faust's own transport.

This file decides what the worker is compared with: the least that an agent can do. It prints a line
`pace seconds count` about ten times a second, and ends at the count that it is given.

    python -m benchmarks.baselines.plain_faust KAFKA GROUP COUNT TOPIC...
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import faust


def main(kafka: str, group: str, most: int, topics: list[str]) -> None:
    app = faust.App(
        group,
        broker=f"kafka://{kafka}",
        store="memory://",
        datadir=f"/tmp/{group}-keeps-nothing-here",  # noqa: S108  Faust wants a folder
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        worker_redirect_stdouts=False,
        consumer_auto_offset_reset="earliest",
    )

    @app.agent(app.topic(*topics, key_type=bytes, value_type=bytes, value_serializer="raw"))
    async def count(events: Any) -> None:
        counted, next_line = 0, 0.0
        async for _ in events:
            counted += 1
            if counted >= most or (not counted % 64 and time.monotonic() >= next_line):
                next_line = time.monotonic() + 0.1
                print("\npace", time.monotonic(), counted, flush=True)
                if counted >= most:
                    os._exit(0)

    faust.Worker(app, loglevel="ERROR", quiet=True).execute_from_commandline()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:])
