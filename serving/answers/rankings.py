"""Rankings with items taken out, added or cut off, and with their counts by origin kept right.

This file decides what becomes of scores and counts when a list changes. Which items are taken out or added is decided
by `serving.answers.decision`.
"""

from __future__ import annotations

from collections.abc import Sequence

from stream.models.query import Ranking


def without_hidden(ranking: Ranking, shown: Sequence[bool]) -> Ranking:
    """The items that are shown.

    Args:
        ranking: a list.
        shown: for each of its items, whether it stays.

    >>> without_hidden(Ranking(["a", "b", "c"], [3.0, 2.0, 1.0], popular=1), [True, False, True])
    Ranking(items=['a', 'c'], scores=[3.0, 1.0], fallback=None, popular=1, newest=0, together=None, checked=False)
    """
    added_from = len(ranking.items) - ranking.popular - ranking.newest
    new_from = len(ranking.items) - ranking.newest
    return Ranking(
        [item for item, kept in zip(ranking.items, shown, strict=True) if kept],
        [score for score, kept in zip(ranking.scores, shown, strict=True) if kept],
        ranking.fallback,
        sum(shown[added_from:new_from]),
        sum(shown[new_from:]),
        None if ranking.together is None else sum(shown[: ranking.together]),
    )


def with_added(ranking: Ranking, added: list[str]) -> Ranking:
    """The list, with items at its end that the model has not ranked. Their scores lie below those of the list.

    >>> with_added(Ranking(["a"], [3.0]), ["b"])
    Ranking(items=['a', 'b'], scores=[3.0, 2.0], fallback=None, popular=0, newest=1, together=None, checked=False)
    """
    if not added:
        return ranking
    least = ranking.scores[-1] if ranking.scores else 0.0
    return Ranking(
        ranking.items + added,
        ranking.scores + [least - 1.0 - place for place in range(len(added))],
        ranking.fallback if ranking.items else "newest",
        ranking.popular,
        ranking.newest + len(added),
        ranking.together,
    )


def cut(ranking: Ranking, n: int) -> Ranking:
    """The first `n` items; the very same ranking if there are no more.

    >>> cut(Ranking(["a", "b", "c"], [3.0, 2.0, 1.0], popular=1, newest=1), 2)
    Ranking(items=['a', 'b'], scores=[3.0, 2.0], fallback=None, popular=1, newest=0, together=None, checked=False)
    """
    surplus = len(ranking.items) - n
    if surplus <= 0:
        return ranking
    newest = max(0, ranking.newest - surplus)
    popular = max(0, ranking.popular - max(0, surplus - ranking.newest))
    together = None if ranking.together is None else min(ranking.together, n)
    return Ranking(ranking.items[:n], ranking.scores[:n], ranking.fallback, popular, newest, together)
