"""Items that a visitor had: purchases and dislikes that outlive the ring of last events, and their effect on lists.

| file | decides |
|---|---|
| `places` | where the kept purchases and dislikes of a visitor are |
| `kept` | which purchases and dislikes of a visitor are kept, and which are forgotten |
| `bought_together` | what a basket is, how purchases are counted for it, and which items are bought together |
| `lists` | which items are left out because of what the visitor had, and how far a dislike lowers others |
"""
