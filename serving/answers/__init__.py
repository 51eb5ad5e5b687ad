"""Lists of items over HTTP: from a request to the JSON that answers it.

There are two HTTP ways to a list. `fast_path` answers `GET /v1/recommendations/{user}` inside the HTTP protocol,
without a task or an ASGI scope; `recommendations` and `item_lists` answer every list through `serving.web.endpoint`.
Both read requests with `requests`, decide with `decision` and reply with `responder`, so each policy exists once. To
add a policy, add it to `decision` and a row to the table in `tests/serving/answers/test_policies.py`.

| file | decides |
|---|---|
| `requests` | which parameters and fields a request for a list may have, and which ids are refused |
| `parameters` | parts of a request that several routes take: filters, what the visitor had |
| `decision` | the plan made before scoring and the arrangement made after it: every policy of every list |
| `explain` | the reasons of each item, and the rules that moved it |
| `contexts` | the lists that no model ranks: recently viewed, new arrivals |
| `rankings` | what becomes of scores and counts when a list is cut or added to |
| `response` | the JSON of a list |
| `answer_ids` | the id of each answer |
| `responder` | the steps from a checked request to a counted response, for both HTTP ways |
| `recommendations` | routes of the lists for a visitor |
| `batch` | lists for several visitors in one call |
| `item_lists` | routes of the lists that are not about a visitor: similar, bought together, popular, trending, new |
| `fast_path` | which requests are answered inside the HTTP protocol |
"""
