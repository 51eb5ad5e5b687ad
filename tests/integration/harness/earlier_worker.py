"""A worker with Faust's own partition assignor, as workers of release 0.1 have it, and the real one otherwise.

python -m tests.integration.harness.earlier_worker
"""

from __future__ import annotations

from faust.assignor import PartitionAssignor

import stream.worker
from stream.worker_cli import worker


def main() -> None:
    stream.worker.ShardAssignor = PartitionAssignor  # type: ignore[assignment,misc]  the seam of this test
    worker()


if __name__ == "__main__":
    main()
