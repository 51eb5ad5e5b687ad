"""Learning: one batch of events, in order, through everything that remembers.

The tables are written in one compiled loop. River's models, which are Python objects, learn after it from its outcomes.

| file | decides |
|---|---|
| `learner` | what a batch teaches, in the loop and after it |
| `event_loop` | what happens for each event: skip, test, learn |
| `stream_clock` | what time it is, and at which time an event counts |
| `returns` | what a return takes back of its purchase |
| `held_events` | what is held of an event ahead of the clock, and what changes when the clock reaches it |
| `aggregate` | which tables an event changes of which nothing is kept under the visitor |
| `counting` | which counts over all visitors an event changes |
| `prefetch` | which memory is loaded some events before it is needed |
"""
