"""Events over HTTP: from a posted body to an acknowledgement of Kafka.

| file | decides |
|---|---|
| `event_reader` | how a body becomes events, and which are refused |
| `mapped_reader` | how a body becomes records of a mapped topic, and what is added to one |
| `producer` | how events are sent, and when Kafka counts as down |
| `event_intake` | when an event counts as accepted, and how both outcomes are counted |
| `routes` | the routes of the topics and their documentation |
| `visitor_wishes` | which events are counted only, because their visitor wants no profiling |
"""
