"""Kernels: the compiled building blocks that every other room of the model uses.

Nothing here knows about items, visitors or recommendations. `stream.state.compiled`, below this room, decides how
functions are compiled that allocate, and when machine code on disk is outdated.

| file | decides |
|---|---|
| `compile` | how a kernel is compiled, and how many arrays reach it as one argument |
| `simd` | which inner loops are written as vector instructions |
| `hashing` | which key an id has |
| `hash_index` | how a model that learns finds the row of a key |
| `key_hints` | how the versions in a server find the row of a key in one index |
| `key_set` | which keys of a batch are among a few |
| `ordinals` | how numbers of more than 32 bits are kept in rows and in lists |
| `marks` | how a block of a large table is marked as written |
| `row_pool` | how runs of rows are handed out and taken back, and what a pointer to a run is |
| `quickselect` | how the k-th smallest number is found |
"""
