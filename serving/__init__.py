"""HTTP server: versions in, recommendations out.

`serving` answers from versions that `stream` published and hands posted events to Kafka. It never learns, never
unpickles, and continues to answer from the last good version while Redis or Kafka is down.

| file | decides |
|---|---|
| `metrics` | which counters and gauges the server exports to Prometheus |
| `request_times` | how answered requests are counted |
| `upstream_health` | when Redis and Kafka count as up or down |
| `memory` | how rows of several versions share memory, within a process and between processes |
| `loading` | which versions are in memory, and which one answers |
| `web` | how requests are read, refused and documented, and the fast HTTP protocol |
| `limits` | how much a key or an address may do |
| `access` | which requests are let in, with which key |
| `answers` | which list answers a request |
| `catalogue` | routes for documents of items and users |
| `intake` | when a posted event counts as accepted |
| `operations` | routes for health, metrics, versions and rollbacks |
| `wiring` | which objects of the application FastAPI routes can ask for |
| `app` | which parts an application has, and the order in which they start and stop |
| `process` | which processes run, and how they end |
| `cli` | the options of `corrente serve` |
"""
