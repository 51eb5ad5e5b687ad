"""Lists over HTTP, measured: one at a time, and several in one call.

| file | decides |
|---|---|
| `serve` | the cost of a list over HTTP, beside a route that answers a constant, and the cost of keys |
| `batch` | the cost of lists for several visitors in one call, beside bare scoring |
"""
