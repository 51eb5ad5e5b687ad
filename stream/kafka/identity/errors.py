"""Errors of identities: another topic, or no answer.

This file decides these two kinds.
"""

from __future__ import annotations


class OtherTopic(RuntimeError):
    """A topic is not the one that it was when its records were fetched."""


class IdentitiesUnknown(RuntimeError):
    """Kafka did not say which topics there are; it may be away, or a topic may be missing."""
