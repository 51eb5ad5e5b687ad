"""Connections to Kafka: secured or not, renewed before the broker ends them, and explained if they fail.

Every client of this project gets its arguments from `client_options`: worker, server, commands and simulators connect
alike, and a new kind of security is added in one place. The room knows no topic's meaning and learns nothing.

| file | decides |
|---|---|
| `bootstrap` | how long a client that starts waits for a broker |
| `diagnosis` | the reason why Kafka can't be used, in one line, and whether waiting can mend it |
| `faust_settings` | the form in which Faust takes the same |
| `metadata` | the request for topic ids and rights, which aiokafka doesn't have |
| `options` | the arguments of every client of aiokafka |
| `rights` | which rights each part of Corrente needs, which of them are missing, and the command that gives them |
| `sessions` | when a connection is replaced because the broker ends its session |
| `tls` | which certificates are trusted and shown |
| `tokens` | where OAUTHBEARER tokens come from, and how long one is used |
"""
