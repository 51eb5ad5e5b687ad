"""Calls: one function for each route, which makes the request and knows the type of its answer.

Nothing is sent here. The functions are the methods of both clients (`corrente.routes`), and their docstrings document
those methods; `client` in the examples is such a client.

| file | decides |
|---|---|
| `call` | how parameters become a path, a query string and a body |
| `lists` | parameters of the calls for lists |
| `events` | the body of posted events |
| `catalogue` | documents of items and users |
| `operations` | versions, and the state of the server |
"""
