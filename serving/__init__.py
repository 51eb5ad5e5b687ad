"""Versions in, recommendations out: the HTTP server.

`serving` answers from versions that `stream` published and hands posted events to Kafka. It never learns, never
unpickles, and goes on answering from the last good version while Redis or Kafka is away.
"""
