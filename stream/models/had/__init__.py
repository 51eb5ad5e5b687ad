"""Items that a visitor had: purchases and dislikes that outlive the ring of last events, and their effect on lists.

| file | decides |
|---|---|
| `places` | where the kept purchases and dislikes of a visitor are |
| `kept` | which purchases and dislikes of a visitor are kept, and which are forgotten |
| `lists` | which items are left out because of what the visitor had, and how far a dislike lowers others |
"""
