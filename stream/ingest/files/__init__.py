"""Files of events: one reader for every command, with one set of reasons that name the line.

| file | decides |
|---|---|
| `columns` | which columns a file of events must have, and under which names they are found |
| `row_checks` | what is wrong with a row of a file |
| `delimited` | which cells a line of a table has: its separator, and what quotes mean |
| `at_once` | when the lines of a table can be cut all at once |
| `table_rows` | which rows of a table are left out before their cells are looked at |
| `json_lines` | how JSON lines become rows and records |
| `mapped` | what becomes of records of other forms, which are read by a mapping |
| `parquet` | how Parquet becomes rows and records |
| `unpacking` | how gzip and zip are unpacked |
| `reading` | which format a file has, and how it is read piece by piece |
| `dataset` | how a whole file becomes arrays |
| `cli` | the options of commands that read a file, and how standard input and pipes are read |
"""
