"""Events of visitors who want no profiling: they are counted, and nothing is kept under the visitor.

The consent is written into the event before it is sent to Kafka. So a worker, a second worker after a crash and a
replay of the topic all learn the same, whatever the profile says by then.

This file decides which events get another consent than they were posted with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from stream.catalogue.visitor_rules import NO_RULES, VisitorRules
from stream.events import Event, text_of
from stream.values import COUNTED, PERSONAL, consent_of


class VisitorWishes(NamedTuple):
    """The rules of visitors, as the intake needs them.

    Attributes:
        rules_of: the rules of a visitor, by the id of the user.
        consent_default: consent of an event that names none.

    >>> from stream.events import Click
    >>> wishes = VisitorWishes(lambda user: VisitorRules("off" if user == "ada" else "on"))
    >>> [wishes.consent_instead(Click(item="tea", user=user)) for user in ("ada", "bob")]
    ['aggregate', None]
    >>> wishes.consent_instead(Click(item="tea", user="ada", consent="none"))
    """

    rules_of: Callable[[str], VisitorRules] = lambda _: NO_RULES
    consent_default: str = PERSONAL

    def consent_instead(self, event: Event) -> str | None:
        """The consent that a checked event is sent with instead of its own; None to leave it as it is."""
        if event.user is None or self.rules_of(text_of(event.user)).profiled:
            return None
        return COUNTED if consent_of(event.consent, self.consent_default) == PERSONAL else None


NO_WISHES = VisitorWishes()
