"""A worker that loses one fetch between Kafka's client and its partition, and is the real one otherwise.

python -m tests.integration.harness.zombie_worker
"""

from __future__ import annotations

from stream.kafka.transport import Fetch
from stream.runner.task import ShardRunner
from stream.worker_cli import worker

LOST = "a fetch is lost"


def main() -> None:
    fetches, deliver = 0, ShardRunner.deliver

    def deliver_all_but_the_second(partition: ShardRunner, fetch: Fetch) -> None:
        nonlocal fetches
        fetches += 1
        if fetches == 2:
            print(LOST, flush=True)
        else:
            deliver(partition, fetch)

    ShardRunner.deliver = deliver_all_but_the_second  # type: ignore[method-assign]  the seam of this test
    worker()


if __name__ == "__main__":
    main()
