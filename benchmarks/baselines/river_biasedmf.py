"""A bare loop of River's `BiasedMF.learn_one` over the events of the load, in memory: no Kafka, no JSON, no versions.

This file decides what learning is compared with. It prints a line `pace seconds count` about ten times a second.

    python -m benchmarks.baselines.river_biasedmf COUNT
"""

from __future__ import annotations

import sys
import time

from river import optim, reco

from benchmarks.harness.events import load_events


def main(count: int) -> None:
    events = [(event.user, event.item) for event in load_events(count)]
    model = reco.BiasedMF(n_factors=10, bias_optimizer=optim.SGD(0.025), latent_optimizer=optim.SGD(0.025), seed=0)
    learn_one = model.learn_one
    print("\npace", time.monotonic(), 0, flush=True)
    for start in range(0, count, 10_000):
        for user, item in events[start : start + 10_000]:
            learn_one(user, item, 1.0)
        print("\npace", time.monotonic(), min(start + 10_000, count), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
