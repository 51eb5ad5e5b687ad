"""A worker whose learning fails on every event of one item, and is the real one otherwise.

python -m tests.integration.harness.failing_worker
"""

from __future__ import annotations

from typing import Any

from stream.models.batch import ITEM_SALT
from stream.models.kernels.hashing import hash_ids, salt_key
from stream.models.learning.learner import Learner
from stream.worker_cli import worker

FAILS = "an item that learning fails on"


def main() -> None:
    learn, fails = Learner.learn, hash_ids([FAILS], salt_key(ITEM_SALT))[0]

    def learn_or_fail(learner: Learner, batch: Any) -> Any:
        outcomes = learn(learner, batch)
        if (batch.items == fails).all(axis=1).any():
            raise ZeroDivisionError("after the tables were written")
        return outcomes

    Learner.learn = learn_or_fail  # type: ignore[method-assign]  the seam of this test
    worker()


if __name__ == "__main__":
    main()
