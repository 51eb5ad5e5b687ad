"""Arrays as kernels take them: the tables of a model, and scratch arrays that a thread reuses.

Learning kernels take the tables as `State`, with their marks of written blocks; scoring kernels take them as
`Reader`, every row through an index, so that the same code scores live tables and versions in an arena.
Scratch arrays are `Work`.

| file | decides |
|---|---|
| `learning_view` | which arrays a learning kernel gets |
| `scoring_view` | which arrays a scoring kernel gets, and how views of live tables are made |
| `scratch` | what a thread needs to make a list, and the numbers of the items that a list touches |
| `visitor_context` | which events of the visitor count, and which items are the session |
| `visitor_lookup` | rows of the visitor and session that a request names |
| `item_names` | how the id of an item is read |
"""
