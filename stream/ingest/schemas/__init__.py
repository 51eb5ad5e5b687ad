"""Records in Confluent's wire format: Avro, Protobuf, and JSON with a schema, which lies in a registry.

Such a record begins with a byte that JSON can't begin with and the id of its schema. A reader is made of each schema
once, and gives the record as the plain values that JSON would give, so that fields, mappings and the checks of events
are the same for all formats. Nothing here asks a registry: a batch with a schema that is not known yet is given back
with its id (`SchemasMissing`), and is decoded when `stream.registry` has found it.

| file | decides |
|---|---|
| `wire` | which records are in the wire format, and where the id of a schema ends |
| `fetched` | the parts of a schema as a registry gives it, and which formats there are |
| `avro` | which plain values the types of Avro become, and by which schema a record is read |
| `protobuf` | which message a record is, and which plain values the types of Protobuf become |
| `protobuf_files` | which imports of a schema of Protobuf are known |
| `json_schema` | which records in JSON fit their schema, and what is said of the others |
| `readers` | how a schema becomes a reader, and which schemas can't be used |
| `known` | which schemas are kept, and what is said of a record without a usable one |
| `schema_decoder` | how records in the wire format and plain JSON become one batch of events |
"""
