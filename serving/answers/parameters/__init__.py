"""Parts of a request for a list that several routes take.

| file | decides |
|---|---|
| `filters` | which parameters and fields make up a filter |
| `seen` | which parameters and fields leave out what the visitor had |
"""
