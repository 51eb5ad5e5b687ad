"""Rules of a visitor: the part of a profile that lists and intake follow.

Most profiles have none. Those that have are kept apart from the documents, so that each server can hold all of them in
memory and look one up by the id of the user.

This file decides which fields of a profile are rules, and how they are stored. Their effect is decided in
`serving.answers` and `serving.intake`.
"""

from __future__ import annotations

import msgspec

from stream.catalogue.filters import Filter
from stream.catalogue.item import Item
from stream.catalogue.profile import Profile

OFF = "off"


class VisitorRules(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Wishes of one visitor. Every field is a field of the profile, with the same name and meaning."""

    profiling: str = "on"
    hidden_brands: tuple[str, ...] = ()
    hidden_categories: tuple[str, ...] = ()

    def applied_to(self, wanted: Filter) -> Filter:
        """The filter of a request, with what this visitor has hidden.

        >>> VisitorRules(hidden_brands=("Acme",)).applied_to(Filter(tags=("new",))).hidden_brands
        ('Acme',)
        """
        if not self.hidden_brands and not self.hidden_categories:
            return wanted
        return msgspec.structs.replace(
            wanted, hidden_brands=self.hidden_brands, hidden_categories=self.hidden_categories
        )

    @property
    def profiled(self) -> bool:
        """True unless the visitor wants no profiling."""
        return self.profiling != OFF


NO_RULES = VisitorRules()
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(VisitorRules).decode


def encoded_rules(document: Item | Profile | None) -> bytes:
    """The rules in a document as they are stored; empty if it has none.

    >>> encoded_rules(Profile(profiling="off")), encoded_rules(Profile(country="CH")), encoded_rules(None)
    (b'{"profiling":"off"}', b'', b'')
    """
    if not isinstance(document, Profile):
        return b""
    # Sorted and each once, so that visitors who hide the same share what is kept for a filter.
    brands, categories = sorted(set(document.hidden_brands)), sorted(set(document.hidden_categories))
    rules = VisitorRules(document.profiling, tuple(brands), tuple(categories))
    return b"" if rules == NO_RULES else _encode(rules)


def decoded_rules(data: bytes) -> VisitorRules:
    """Rules as they were stored. Fields that only a later release knows are left out.

    Raises:
        msgspec.MsgspecError: they can't be read.
    """
    return _decode(data)
