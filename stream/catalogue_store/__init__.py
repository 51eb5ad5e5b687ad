"""The catalogue in Redis: documents stored one by one, every change numbered, and servers that follow them.

A write is one small script: it stores the documents, numbers each of them and notes their ids in a bounded log, then
announces the last number. A server keeps what `stream.catalogue` made of all documents; it reads the log from the
number that it has, and starts anew if the log no longer reaches that far.

| file | decides |
|---|---|
| `keys` | names of the keys, and the length of the log |
| `scripts` | which steps are atomic |
| `store` | how documents are written, changed, deleted, listed and read |
| `live` | how a server follows changes, and when it reads everything anew |
| `import_cli` | the commands `corrente import items` and `corrente import users` |
"""
