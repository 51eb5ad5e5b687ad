"""Profiles of files of events: their content before anything is learned of it.

A profile is read by the same reader, with the same reasons, as every other command reads a file
(`stream.ingest.files`). It ends with the command that evaluates or replays the file.

| file | decides |
|---|---|
| `guesses` | which columns could be what, by their names and their first values |
| `suspicious` | which ids are doubtful |
| `timeline` | how events are spread over time: bins, gaps and bursts |
| `measure` | which figures a profile has, and how they are counted |
| `command` | which command evaluates or replays the file, and why not the other one |
| `document` | which parts a profile has, and how it is made of a file |
| `text` | how a profile is printed |
| `charts` | how figures are drawn as SVG |
| `page` | how a profile becomes one HTML page |
| `cli` | the options and the exit codes of `corrente profile` |
"""
