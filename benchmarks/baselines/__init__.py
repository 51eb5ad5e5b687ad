"""Baselines: programs that do the least that could be compared with a leg, each in a process of its own.

Every program prints a line `pace seconds count` about ten times a second, from which its speed is computed, except the
HTTP route, which is loaded with wrk.

| file | decides |
|---|---|
| `constant_route` | the FastAPI route that answers a constant |
| `plain_faust` | the Faust agent that only counts events |
| `raw_aiokafka` | the consumer that only counts records |
| `river_biasedmf` | the loop of River's `BiasedMF.learn_one` |
"""
