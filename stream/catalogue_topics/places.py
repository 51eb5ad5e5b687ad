"""The place in a log of Kafka after the last document that was written: the topic's id and an offset.

This file decides where reading goes on, and what is said if that is not where it ended.
"""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """A place in one partition.

    Attributes:
        topic_id: id of the topic that the offset is of; empty if the broker gives none.
        offset: of the next record.
    """

    topic_id: str
    offset: int

    def text(self) -> str:
        """The place as it is stored.

        >>> Place("Wd3", 7).text(), place_of("Wd3 7"), place_of("")
        ('Wd3 7', Place(topic_id='Wd3', offset=7), None)
        """
        return f"{self.topic_id} {self.offset}"


def place_of(text: str) -> Place | None:
    """A stored place; None for an empty text."""
    topic_id, _, offset = text.rpartition(" ")
    return Place(topic_id, int(offset)) if text else None


def go_on_from(stored: Place | None, topic_id: str, first: int, end: int) -> tuple[int, str | None]:
    """The offset from which a log is read, and what is to be logged about it; None if there is nothing to say.

    Documents are whole and have revisions, so reading a log from its beginning does no harm.

    Args:
        stored: place that was written last.
        topic_id: id that the topic has now.
        first: first offset that Kafka still has.
        end: offset after the last one.

    >>> go_on_from(Place("a", 5), "a", 0, 9), go_on_from(None, "a", 3, 9)
    ((5, None), (3, None))
    >>> go_on_from(Place("a", 5), "b", 0, 9)
    (0, 'the topic was created again; it is read from its beginning')
    """
    if stored is None:
        return first, None
    if stored.topic_id != topic_id:
        return first, "the topic was created again; it is read from its beginning"
    if stored.offset > end:
        return first, "the topic ends before the place that was read last; it is read from its beginning"
    if stored.offset < first:
        return first, "records were deleted before they were read; set cleanup.policy=compact for this topic alone"
    return stored.offset, None
