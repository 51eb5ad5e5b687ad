"""The catalogue over HTTP: documents of items and of users, one or many at a time.

Writes go to Redis and are answered once it has taken them; while it is away they get 503, and lists go on with the
catalogue in memory. FastAPI routes, as those of operations are, because Redis takes longer than FastAPI does.

| file | decides |
|---|---|
| `documents` | the JSON of bodies, documents, pages and deletions |
| `calls` | the steps from a request to the store and back, for items and users alike |
| `routes` | which routes there are |
"""
