"""Overload: a server that gets more requests than it can answer.

| file | decides |
|---|---|
| `shed` | the loads, and which part of them has to be answered in which time |
| `open_loop` | when requests are sent that do not wait for answers, and how their latency is measured |
"""
