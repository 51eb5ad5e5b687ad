"""Good events that are not learned, on purpose: they would count for something that did not happen.

This file decides the rules, and the id words that stand for no id. A record that a rule leaves out is counted as
`unlearned:<rule>` (`stream.ingest.records`). An event that is wrong is never left out but rejected, and what a value
means is decided in `stream.values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stream.events import Event, text_of
from stream.values import number_of

NULL_ID = "null_id"
"""An id is a word for no value, such as NULL: all events with it would be one giant visitor, or one item."""
ZERO_QUANTITY = "zero_quantity"
"""Nothing was bought, and nothing was brought back."""


class Found(NamedTuple):
    """The rule by which an event is left out, and the sentence for it."""

    rule: str
    reason: str


class LeftOut:
    """The rules of one model.

    >>> from stream.events import Click, Purchase
    >>> LeftOut(["NULL"]).rule_of(Click(item="tea", user="NULL")).rule
    'null_id'
    >>> LeftOut(["NULL"]).rule_of(Purchase(item="tea", user="ada", quantity="0")).rule
    'zero_quantity'

    Args:
        null_ids: words that stand for no id.
    """

    def __init__(self, null_ids: Iterable[str]) -> None:
        self.null_ids = frozenset(null_ids)

    def rule_of(self, event: Event) -> Found | None:
        """The rule that leaves a good event out, or None.

        An event id that is a null id stands for none, so it leaves nothing out.
        """
        for field, identifier in (("item", event.item), ("user", event.user), ("session", event.session)):
            if identifier is not None and text_of(identifier) in self.null_ids:
                return Found(NULL_ID, null_id_reason(field, text_of(identifier)))
        if number_of("quantity", getattr(event, "quantity", None)) == 0:
            return Found(ZERO_QUANTITY, "quantity: 0 is neither a purchase nor a return")
        return None

    def of_rows(self, cells: Mapping[str, Sequence[str | None]]) -> dict[int, str]:
        """The rules that leave out rows of a file, by the number of the row.

        Args:
            cells: by column, as `stream.ingest.files.Chunk` has them.
        """
        rules: dict[int, str] = {}
        for row, quantity in enumerate(cells.get("quantity", ())):
            if quantity is not None and cells["event"][row] == "purchase" and number_of("quantity", quantity) == 0:
                rules[row] = ZERO_QUANTITY
        for column in ("item", "user", "session"):
            if not self.null_ids.isdisjoint(cells.get(column, ())):
                rules |= {row: NULL_ID for row, cell in enumerate(cells[column]) if cell in self.null_ids}
        return rules


def null_id_reason(field: str, word: str) -> str:
    """The sentence for an id that stands for no id."""
    return (
        f"{field}: {word!r} stands for no id (CORRENTE_MODEL__NULL_IDS); leave out the field of an id that isn't known"
    )
