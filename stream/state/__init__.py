"""State: the flat tables that a model is made of, and the deltas, checkpoints and journals that carry them.

Pure: no clock, no environment, no network, no chance. This room knows blocks of bytes and nothing of what they mean.

| file | decides |
|---|---|
| `compiled` | how functions are compiled that may allocate, and when machine code on disk is outdated |
| `kernel_cache` | from which folders machine code is read, and what follows if none can be written |
| `tables` | how tables are stored, marked, copied and compared |
| `marks` | where the marks of written blocks lie, and how they are found |
| `finite` | what is checked before numbers leave the learner, and how an older state is mended |
| `processor` | what a family of processors with equal bits is called |
| `checkpoint` | what one shard hands over for a version |
| `journal` | how the batches that were applied are kept and encoded |
| `codec` | the bytes of a delta |
| `byte_planes` | how bytes are sorted by their place in a block |
| `folding` | how many deltas become one |
| `table_writer` | how a state is written that comes in many parts |
"""
