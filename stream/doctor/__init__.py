"""`corrente doctor`: checks of an installation, each with what it found and what mends it.

A check reads and changes nothing that lasts. It is given settings and returns findings; it doesn't raise, because what
stops one check is a finding for the reader. An edge, as it asks Kafka, Redis, a server, the clock and the disk.

| file | decides |
|---|---|
| `findings` | how severe a finding is, how findings are printed, and the exit code |
| `installation` | what is checked of settings, the salt, the kernel cache and the disk |
| `kafka` | whether brokers are reached, and what is checked of topics, their configuration, rights and the group |
| `kafka_logs` | what is checked of the records in Kafka: open transactions, and records that were removed too early |
| `registry` | what is checked of the schema registry, and which schemas are asked for |
| `redis` | what is checked of Redis, of its clock, and of the newest version in it |
| `server` | what is checked of a running server |
| `cli` | the command, its options and the order of the checks |
"""
