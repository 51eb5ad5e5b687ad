"""Limits of callers: how much a key or an address may do, counted by all servers of a model together.

A request takes from a bucket in the memory of its process, and waits for nothing. Five times a second each process
reports what was taken to Redis, and learns what other processes have left. While Redis is away each process counts by
itself.

| file | decides |
|---|---|
| `bucket` | when something fits into a limit, and how long it has to wait until it does |
| `addresses` | which address a request counts for |
| `rate_headers` | the headers that say how much of a limit is left |
| `too_many` | the text and the headers of a refusal |
| `sharing` | when buckets are reported to Redis, and which are forgotten |
| `guesses` | when an address has guessed keys too often, and what the audit trail keeps of it |
| `limits` | what is limited, for whom, and how much a request takes |
"""
