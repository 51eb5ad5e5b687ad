"""Contracts of releases with programs outside: settings, metrics, routes, event fields and commands, as JSON files.

| file | decides |
|---|---|
| `read_contract` | which parts of a checkout others may rely on |
"""
