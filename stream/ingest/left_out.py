"""Good events that are not learned, on purpose: no visitor did them, or their visitor doesn't agree.

This file decides the rules, the id words that stand for no id, and how an event of each consent is learned. A record
that a rule leaves out is counted as `unlearned:<rule>` (`stream.ingest.records`). An event that is wrong is never left
out but rejected, and what a value means is decided in `stream.values`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from operator import attrgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.events import Event, text_of
from stream.models.event_codes import AGGREGATE, LEARN
from stream.values import COUNTED, NO_CONSENT, PERSONAL, InvalidEvent, bot_of, consent_of, number_of

NULL_ID = "null_id"
"""An id is a word for no value, such as NULL: all events with it would be one giant visitor, or one item."""
ZERO_QUANTITY = "zero_quantity"
"""Nothing was bought, and nothing was brought back."""
CONSENT = "consent"
"""The visitor agrees to nothing: the event's consent is `none`."""
BOT = "bot"
"""A program made the event, not a visitor."""

_consent, _bot = map(attrgetter, ("consent", "bot"))

_LOOKED_AT = 255
"""Stands in `EventBatch.learned` for an event whose consent is looked at by itself."""


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
        self._by_consent: dict[str | None, int] = {PERSONAL: LEARN, COUNTED: AGGREGATE}
        self._by_consent[None] = self._by_consent.get(consent_default, _LOOKED_AT)

    def learned(self, events: Sequence[Event], bad: set[int]) -> NDArray[np.uint8]:
        """The column `learned` of a batch (`EventBatch`), which follows from the consent of each event.

        Args:
            events: as decoded.
            bad: rows of bots, of events without consent, and of those whose consent can't be read are added to it.
        """
        if self._by_consent[None] == LEARN and not any(map(_consent, events)):
            learned = np.ones(len(events), np.uint8)
        else:
            codes = map(self._by_consent.get, map(_consent, events), repeat(_LOOKED_AT))
            learned = np.fromiter(codes, np.uint8, len(events))
            for row in np.flatnonzero(learned == _LOOKED_AT).tolist():
                try:
                    learned[row] = self._by_consent[consent_of(events[row].consent, self.consent_default)]
                except (InvalidEvent, KeyError):
                    bad.add(row)
        if any(map(_bot, events)):
            bad.update(row for row, bot in enumerate(map(_bot, events)) if bot and _is_bot_or_wrong(bot))
        return learned

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
            cells: by column, as `stream.ingest.files.reading.Chunk` has them.
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


def _is_bot_or_wrong(bot: int | str) -> bool:
    """True for the field `bot` of an event that isn't learned: a program made it, or the field can't be read."""
    try:
        return bot_of(bot)
    except InvalidEvent:
        return True


def null_id_reason(field: str, word: str) -> str:
    """The sentence for an id that stands for no id."""
    return (
        f"{field}: {word!r} stands for no id (CORRENTE_MODEL__NULL_IDS); leave out the field of an id that isn't known"
    )
