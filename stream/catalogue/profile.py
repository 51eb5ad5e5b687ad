"""A user's document: what a shop says about a user, beside what the user does.

The profile is kept for the shop's pages and for later models. Lists are not made from it, but for the visitor's rules:
who wants no `profiling` gets lists without it, and hidden brands and categories stay out. Deleting the profile deletes
this document and nothing else: what was learned from the user's events is in the model.

This file decides the fields of a profile and their limits.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from stream.catalogue.item import Name
from stream.catalogue.labels import Labels

BLANK = r"/\x00-\x20\x7f-\xa0\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff"
"""Characters of which no step of a path can consist alone; Python and JSON Schema disagree about what `\\s` is."""

CategoryPath = Annotated[str, Meta(min_length=1, max_length=200, pattern=f"[^{BLANK}]")]


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """Everything that a shop says about one user."""

    language: Annotated[str, Meta(max_length=35, description="As in BCP 47, such as `de-CH`.")] | None = None
    country: Annotated[str, Meta(pattern="^[A-Z]{2}$", description="Two letters, as in ISO 3166.")] | None = None
    tags: Annotated[list[Name], Meta(max_length=64, description="Words of your own.")] = []
    labels: Labels = {}
    profiling: Annotated[
        Literal["on", "off"],
        Meta(description="`off`: lists without what is known of the user, whose events are counted as `aggregate`."),
    ] = "on"
    hidden_brands: Annotated[
        list[Name], Meta(max_length=100, description="The user's lists hold no items of these brands.")
    ] = []
    hidden_categories: Annotated[
        list[CategoryPath],
        Meta(max_length=100, description="Nor items of these categories, or of what lies below them."),
    ] = []
