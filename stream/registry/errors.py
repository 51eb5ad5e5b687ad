"""Errors of a schema registry.

This file decides which answers mean that a registry can't be used now, so that nothing is learned until it can, and
which mean that it has no such schema, so that its records are dead letters.
"""

from __future__ import annotations


class RegistryUnusable(Exception):
    """The registry can't be used as things are.

    Attributes:
        mend: what mends it.
        refused: True if the registry answers, and refuses the user.
    """

    def __init__(self, detail: str, mend: str, *, refused: bool = False) -> None:
        super().__init__(detail)
        self.mend = mend
        self.refused = refused


class NotRegistered(LookupError):
    """The registry answers that it has no such schema. The text says which."""
