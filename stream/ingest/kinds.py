"""Kinds of events: which are known, and which known one another name seems to mean.

This file decides when a kind is unknown: it is neither one of ours (`stream.models.event_codes.KINDS`) nor one that the
settings give a weight. An event of an unknown kind is learned with weight 1 and said to be unknown, because
`addtocart` and `transaction` of weight 1 are more often names that should have been mapped than a wish. It also decides
when a purchase in a file is a return.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from stream.models.event_codes import KINDS
from stream.values import number_of

_MEANING: Mapping[str, str] = {
    **dict.fromkeys(("transaction", "order", "buy", "checkout", "sale", "payment", "conversion"), "purchase"),
    **dict.fromkeys(("basket", "bag", "addtocart", "addtobasket", "addtobag"), "cart"),
    **dict.fromkeys(("pageview", "impression", "detail", "viewitem", "productview", "page"), "view"),
    **dict.fromkeys(("favorite", "favourite", "wishlist", "bookmark", "save", "thumbsup", "upvote", "love"), "like"),
    **dict.fromkeys(("thumbsdown", "downvote", "hide", "skip", "block"), "dislike"),
    **dict.fromkeys(("star", "score", "review", "rate"), "rating"),
    **dict.fromkeys(("refund", "cancel", "cancellation", "cancelled", "returned"), "return"),
    **dict.fromkeys(("select", "tap", "open", "selectitem"), "click"),
}
"""Names that other systems give to our kinds, without case, blanks and marks, in the singular."""

LEAST_LIKENESS = 0.6
"""Least likeness of a kind to a known one (`difflib`) to be called near."""


def is_known(kind: str, weights: Collection[str]) -> bool:
    """True for a kind of ours, and for one that the settings give a weight."""
    return kind in KINDS or kind in weights


def nearest_kind(kind: str, weights: Collection[str]) -> str | None:
    """The known kind that another name seems to mean, or None.

    >>> [nearest_kind(kind, ()) for kind in ("addtocart", "Add To Cart", "transaction", "orders", "purchace", "zzz")]
    ['cart', 'cart', 'purchase', 'purchase', 'purchase', None]

    Args:
        kind: an unknown kind.
        weights: the kinds that have a weight in the settings.
    """
    bare = "".join(character for character in kind.lower() if character.isalnum())
    for name in (bare, bare.removesuffix("s"), bare.removesuffix("ed"), bare.removesuffix("ing")):
        if name in KINDS or name in weights:
            return name
        if name in _MEANING:
            return _MEANING[name]
    close = difflib.get_close_matches(bare, sorted({*KINDS, *weights}), n=1, cutoff=LEAST_LIKENESS)
    return close[0] if close else None


def kinds_of_rows(cells: Mapping[str, Sequence[str | None]]) -> list[str | None]:
    """The kinds of rows of a file: a `purchase` with a negative quantity is a `return`.

    >>> kinds_of_rows({"event": ["purchase", "purchase", "click"], "quantity": ["2", "-1", "-1"]})
    ['purchase', 'return', 'click']

    Args:
        cells: by column, as `stream.ingest.files.reading.Chunk` has them.
    """
    if "quantity" not in cells:
        return list(cells["event"])
    return [
        "return" if kind == "purchase" and (number_of("quantity", quantity) or 0) < 0 else kind
        for kind, quantity in zip(cells["event"], cells["quantity"], strict=True)
    ]


def unknown_kind_sentence(kind: str, weights: Collection[str]) -> str:
    """The sentence for an unknown kind, with the nearest known one and what to do.

    >>> unknown_kind_sentence("addtocart", ())
    "kind 'addtocart' is unknown and weighs 1; did you mean 'cart'? Send that, or give it a weight
    (CORRENTE_MODEL__WEIGHTS)"
    """
    near = nearest_kind(kind, weights)
    guess = f"; did you mean {near!r}? Send that, or give" if near else "; give"
    return f"kind {kind[:64]!r} is unknown and weighs 1{guess} it a weight (CORRENTE_MODEL__WEIGHTS)"
