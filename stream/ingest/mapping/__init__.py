"""Mapping: producers' records to events, by a document that says which of our fields stands where.

A document (YAML) is read and checked once, at the start, and becomes a plan for each topic: Struct types that hold
just what is read, and rules that make events of them. The same plan serves the worker, the HTTP server and files. Only
the decoder knows Kafka's records.

| file | decides |
|---|---|
| `paths` | the syntax of a path such as `items[].sku`, and how the place is looked up |
| `document` | the form of a document, and how YAML is read; with the line of every part |
| `nearest` | the sentence that follows a name that is not known |
| `trees` | how the part of a record that is read is decoded in one step |
| `sources` | how the source of a field is checked, and which value it gives |
| `direct` | which rules only give fields other names, and how their records are decoded without a tree |
| `rules` | whether a rule fits a record, and which events the record becomes |
| `plan` | how a document becomes a plan, and which mappings are refused |
| `loading` | which mapping a name means: a ready-made one (`ready/`), or a file |
| `mapped_decoder` | what becomes of a record some of whose events can't be learned |
| `check` | what is said about a mapping and sample records |
| `cli` | the options and the output of `corrente mapping` |
"""
