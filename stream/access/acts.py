"""Administrative acts, and callers who carry them out.

This file decides what the audit trail keeps of an act: who, what, to what, why, and from where.
"""

from __future__ import annotations

import msgspec


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
