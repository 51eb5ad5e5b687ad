"""Sources of recommendations: each scores items for a visitor, from tables of its own or shared ones.

A file says which paper its method comes from. `pairs` keeps counts that two families of sources read; sessions, which
`vsknn` and `stan` read, are kept in `stream.models.entities.sessions`. A source of one's own needs no change here: see
`custom`.

| file | decides |
|---|---|
| `pairs` | which pairs of items are counted, and where |
| `transitions` | scores of items that follow: `transition`, `transition_fast`, `transitions` |
| `cosine` | scores of items that go together: `cosine`, `cosine_flat` |
| `vsknn` | which sessions are neighbours, and the scores of their items |
| `stan` | scores of neighbours' items by time and place |
| `popularity` | decayed counts at five half-lives, and the lists of the most popular and the newest |
| `embedding` | item vectors that are learned online |
| `custom` | how sources of one's own are called |
"""
