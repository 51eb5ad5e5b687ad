"""The catalogue: what a shop says about its items and its users, and which items a filter lets through.

A model learns from events alone and knows nothing of titles, prices or stock. Those come as documents, one for each
item, and are kept as columns of numbers, one row for each item: a filter is then a few comparisons of whole arrays.
Nothing here reads a clock, the environment or the network; documents are stored and followed by
`stream.catalogue_store`.

| file | decides |
|---|---|
| `item` | fields and limits of an item's document |
| `labels` | which free labels a document may have |
| `profile` | fields and limits of a user's document |
| `visitor_rules` | which fields of a user's document lists follow |
| `documents` | how a document is read, changed in part and written, and how an error in it is worded |
| `document_files` | how the rows of a file become documents |
| `columns` | how documents become columns |
| `label_columns` | how free labels become columns |
| `filters` | what a filter may ask for, and which filters contradict themselves |
| `matching` | which items a filter lets through |
| `arrivals` | which items are the newest |
| `item_rows` | which row of a model an item of the catalogue has |
| `snapshot` | the catalogue as one request sees it, and what is kept for a filter that was used |
"""
