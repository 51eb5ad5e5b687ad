"""The harness: everything that legs share and that measures nothing by itself. Integration tests use it too.

| file | decides |
|---|---|
| `avro_events` | the same events in Avro, and their schemas |
| `background` | the load that runs beside a measurement, in a process of its own |
| `events` | the events that legs learn from, and how they are written to Kafka |
| `kafka_jars` | the folder that Kafka's jars are loaded from, and how they are downloaded |
| `machine` | how the machine and the versions of libraries are described in a result |
| `model_fixture` | the models that legs serve, learned in memory and published |
| `processes` | how workers and servers are started, and read from outside: CPU time, memory, metrics |
| `schema_registry` | what a schema registry for tests and benchmarks answers |
| `servers` | how Kafka and Redis are started, paused and stopped |
| `waiting` | how a condition in another process is waited for |

`kafka/pom.xml` lists the version of Kafka that is downloaded.
"""
