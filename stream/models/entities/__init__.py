"""Entities: the rows of items, visitors and sessions, from the first event to eviction.

| file | decides |
|---|---|
| `row_lifecycle` | which row a new item or visitor gets |
| `eviction` | when rows are freed, which ones, and how much of that a new row does |
| `items` | how an item gets its row and name, and what is cleared when it is evicted |
| `visitors` | how a visitor's events are kept, and what is cleared when they are evicted |
| `sessions` | what a session holds, and which sessions an item can be found by |
"""
