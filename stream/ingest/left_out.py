"""Good events that are not learned, on purpose: no visitor did them, or their visitor doesn't agree.

This file decides the rules, and the id words that stand for no id. A record that a rule leaves out is counted as
`unlearned:<rule>` (`stream.ingest.records`). An event that is wrong is never left out but rejected, and what a value
means is decided in `stream.values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from stream.events import Event, text_of
from stream.values import COUNTED, NO_CONSENT, PERSONAL, bot_of, consent_of, number_of

NULL_ID = "null_id"
"""An id is a word for no value, such as NULL: all events with it would be one giant visitor, or one item."""
ZERO_QUANTITY = "zero_quantity"
"""Nothing was bought, and nothing was brought back."""
CONSENT = "consent"
"""The visitor agrees to nothing: the event's consent is `none`."""
BOT = "bot"
"""A program made the event, not a visitor."""


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
    >>> LeftOut([], consent_default="none").rule_of(Click(item="tea", user="ada")).rule
    'consent'

    Args:
        null_ids: words that stand for no id.
        consent_default: consent of an event that names none.
    """

    def __init__(self, null_ids: Iterable[str], consent_default: str = PERSONAL) -> None:
        self.null_ids = frozenset(null_ids)
        self.consent_default = consent_default

    def rule_of(self, event: Event) -> Found | None:
        """The rule that leaves a good event out, or None.

        An event id that is a null id stands for none, so it leaves nothing out.
        """
        if consent_of(event.consent, self.consent_default) == NO_CONSENT:
            return Found(CONSENT, "consent: the visitor agrees to nothing (none), so the event is not learned")
        if bot_of(event.bot):
            return Found(BOT, "bot: a program made the event, not a visitor")
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
        rules |= {row: BOT for row, cell in enumerate(cells.get("bot", ())) if bot_of(cell)}
        return rules | dict.fromkeys(self._rows_with(NO_CONSENT, cells), CONSENT)

    def aggregate_rows(self, cells: Mapping[str, Sequence[str | None]]) -> list[int]:
        """Numbers of the rows of a file that are only counted for their items, rising; `cells` as for `of_rows`."""
        return self._rows_with(COUNTED, cells)

    def _rows_with(self, wanted: str, cells: Mapping[str, Sequence[str | None]]) -> list[int]:
        if "consent" not in cells:
            return list(range(len(cells["item"]))) if self.consent_default == wanted else []
        given = enumerate(cells["consent"])
        return [row for row, consent in given if consent_of(consent, self.consent_default) == wanted]


def null_id_reason(field: str, word: str) -> str:
    """The sentence for an id that stands for no id."""
    return (
        f"{field}: {word!r} stands for no id (CORRENTE_MODEL__NULL_IDS); leave out the field of an id that isn't known"
    )
