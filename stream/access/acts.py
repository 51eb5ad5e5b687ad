"""Administrative acts, and callers who carry them out.

This file decides what the audit trail keeps of an act: who, what, to what, why, and from where. It keeps no id of a
visitor, because records stay when a visitor is forgotten.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

READ_VISITORS = "visitors.read"
"""Kind of the act of reading personal data."""

HIDDEN_BYTES = 8
"""Bytes of a visitor's hash in the trail."""


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """An act as the trail keeps it.

    Attributes:
        who: key with its owner, or the user of a machine.
        what: kind of the act, such as `alias.move` or `keys.revoke`.
        target: what it was done to.
        why: reason that was given.
        origin: address of the caller, or the machine of the command.
        called: name that the caller gave, if it is another one than `who`.
    """

    who: str
    what: str
    target: str
    why: str = ""
    origin: str = ""
    called: str = ""


class Caller(msgspec.Struct, frozen=True):
    """Someone who acts.

    Attributes:
        who: key with its owner, or the user of a machine.
        origin: address or machine.
    """

    who: str
    origin: str = ""

    def act(self, what: str, target: str, *, why: str = "", called: str = "") -> Act:
        """An act of this caller."""
        return Act(self.who, what, target, why, self.origin, "" if called == self.who else called)


def hidden_visitor(visitor: str, salt: str) -> str:
    """A visitor's id as the trail has it: the beginning of its HMAC-SHA256 under the visitor salt, in hexadecimal.

    >>> hidden_visitor("ada", "some salt of a model")
    '0e3160cb47eab991'
    """
    return hmac.digest(salt.encode(), visitor.encode(), hashlib.sha256)[:HIDDEN_BYTES].hex()
