"""HTTP itself: requests to typed records, errors to problem details, routes to documentation.

Nothing here knows what a list, an event or a version is. There are two styles of route. Lists are `endpoint.Endpoint`s,
because FastAPI's resolution of parameters and dependencies takes about as long as a whole list. Events and operations
are FastAPI routes: there Kafka or Redis takes most of the time, and FastAPI's dependencies keep the routes short.

| file | decides |
|---|---|
| `body` | how the bytes of a body are read: size, gzip, and the media type of administrative calls |
| `parsing` | how queries and bodies become records, and how errors in them are worded |
| `unknown_parameters` | that a query parameter that a route doesn't have is refused, on every route |
| `path_ids` | how ids in paths are routed and decoded |
| `problems` | how an error looks on the wire |
| `endpoint` | how the routes of lists are read, answered and documented |
| `connection` | when a connection is closed, and the answer to a client that sends too much or too slowly |
| `shedding` | which requests are refused because too many wait, and with which answer |
| `cors` | scripts of which origins may read answers |
| `fast_protocol` | which requests may be answered inside the HTTP protocol |
| `openapi` | the OpenAPI document and the page that shows it |
| `examples` | which recorded example each operation shows |
| `links` | which answers are parameters or bodies of another operation |
"""
