"""Reasons for which a worker does not start, or ends with exit code 1 instead of waiting forever.

Each text says what is wrong and what would be right, and is printed without a traceback. This file decides nothing but
these kinds.
"""

from __future__ import annotations


class CannotLearn(RuntimeError):
    """A worker can't learn until a setting, a topic or a right is changed; the text says which."""


class WrongTopics(CannotLearn):
    """Topics that can't be learned from as they are. The text has the command that fixes it."""


class WrongShards(CannotLearn):
    """A number of shards that doesn't fit the topics or the model."""


class WrongGroup(CannotLearn):
    """A consumer group that this worker can't join, or must not share."""
