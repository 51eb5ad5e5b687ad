"""Simulators: a shop whose customers' tastes are planted, histories sent again from files, and the whole system on one
machine.

They use the running system as any client does, over HTTP and Kafka, and import nothing of it but contracts. Nothing in
this folder is needed to run Corrente.

| file | decides |
|---|---|
| `children` | how child processes are started and ended |
| `cli` | the options of `corrente demo` and `corrente replay`, and how their errors are reported |
| `client` | the HTTP calls that simulators make |
| `demo` | the story of `corrente demo`: what happens when, and what is measured |
| `demo_view` | how a demo is shown: a live view in a terminal, plain lines elsewhere |
| `die_with_parent` | that a child process ends with its parent |
| `embedded` | a Kafka-protocol broker and a Redis that need no installation |
| `quickstart` | `corrente quickstart`: the whole system in the background |
| `recording` | how a run of the demo becomes the moving picture of the README |
| `replay` | the events that a file becomes, when each is due and the time it carries |
| `replay_run` | one `corrente replay` from reading the file to its summary |
| `senders` | how events are sent, over HTTP or to Kafka, and when they are sent again |
| `shoppers` | the shop: items, tastes, shoppers and what they do next |
| `system` | how broker, Redis, worker and server are wired on one machine |
"""
