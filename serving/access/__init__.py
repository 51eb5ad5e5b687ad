"""Access to this server: the keys in memory, the scope of each route, and the refusals.

A server on loopback without any key answers every program of its machine. As soon as the model has a key, or if other
machines can reach the server, each call needs a key with the scope of its route. Keys are checked in memory: one look
into a dictionary and one comparison, without a task and without Redis.

| file | decides |
|---|---|
| `route_scopes` | the scope that each route needs |
| `key_ring` | which keys are in memory, how old they may be, and when the server is open |
| `refusals` | how a refusal looks, and which reasons there are |
| `visitors` | the visitor that a call with a public key is kept to, and how a beacon is read |
| `why` | how the reason of a reading of personal data is read from a request |
| `guard` | whether a request is let in, and how it is refused |
| `start_check` | with which keys a server starts that other machines can reach |
"""
