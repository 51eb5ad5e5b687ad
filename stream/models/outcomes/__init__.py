"""Outcomes: models of River that predict what comes of an event, beside the ranking.

Neither orders a list. Both learn from the bounded sample of tested events, are measured before they learn, and keep
their numbers in tables, so that a version holds them.

| file | decides |
|---|---|
| `conversion` | what is known of a click, and how the probability of its purchase is learned |
| `ratings` | how the rating that a visitor would give an item is learned |
"""
