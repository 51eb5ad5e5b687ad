"""Candidates, features and scores for the history that was gathered: one code for testing and for serving.

This file decides the order of the steps (exclude, collect, propose, describe, score) and which options they have.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream.models.kernels.compile import kernel
from stream.models.ranking import challenger, features, ranker
from stream.models.ranking.collect import collect
from stream.models.ranking.propose import propose, take_item
from stream.models.settings import ModelSettings
from stream.models.source_names import SOURCES
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import EXCLUDED, HAD, LOCAL, UNIQUE, Work, known_local


class Options(NamedTuple):
    """Options of ranking.

    Attributes:
        only_first: repeats are neither learned nor ranked (the setting `repeats = first`).
        by_session: an event is a repeat within its session only, not within all of the visitor's events.
        exclude_last: the visitor's last item is never ranked.
        exclude_had: nothing in the visitor's history is ranked.
        disabled: bit s is set: source s proposes nothing and its values are 0.
    """

    only_first: bool = False
    by_session: bool = False
    exclude_last: bool = False
    exclude_had: bool = False
    disabled: int = 0


def options_of(settings: ModelSettings, *, exclude_last: bool = False, exclude_had: bool = False) -> Options:
    """Options that follow from the settings, and those that a request adds."""
    return Options(
        only_first=settings.repeats == "first",
        exclude_last=exclude_last,
        exclude_had=exclude_had,
        disabled=sum(1 << SOURCES.index(source) for source in settings.disabled_sources),
    )


@kernel
def rank(reader: Reader, work: Work, options: Options, seen_by: np.uint64) -> None:
    """Rank for the history that was gathered in `work`, with all that learning and the challenger need.

    Args:
        seen_by: key of the visitor (or session) whose remembered items are not ranked; 0 if repeats are allowed.
    """
    order(reader, work, options, seen_by, work.all_items, work.no_rows)
    features.by_candidate(work)
    challenger.score(reader, work)


@kernel
def order(
    reader: Reader,
    work: Work,
    options: Options,
    seen_by: np.uint64,
    allowed: np.ndarray,
    popular: np.ndarray,
) -> None:
    """Rank for the history that was gathered, without what only learning and the challenger need.

    Args:
        seen_by: as `rank` takes it.
        allowed: bits over item rows, as `propose` takes them; empty = all may be candidates.
        popular: as `propose` takes it.
    """
    exclude(work, options)
    collect(reader, work)
    propose(reader, work, seen_by, not options.only_first, options.disabled, allowed, popular)
    features.describe(reader, work, options.disabled)
    ranker.score(reader, work)


@kernel
def order_these(reader: Reader, work: Work, options: Options, wanted: np.ndarray, allowed: np.ndarray) -> None:
    """Rank the candidates that the request named, and no others.

    Args:
        wanted: their rows.
        allowed: as `order` takes it.
    """
    exclude(work, options)
    collect(reader, work)
    for row in wanted:
        take_item(work, row, allowed)
    features.describe(reader, work, options.disabled)
    ranker.score(reader, work)


@kernel
def exclude(work: Work, options: Options) -> None:
    """Mark items of the history that are not to be ranked."""
    if options.exclude_had or (options.only_first and not options.by_session):
        for local in range(work.counts[LOCAL]):
            if work.flags[local] & HAD:
                work.flags[local] |= EXCLUDED
    if options.exclude_last and work.counts[UNIQUE]:
        local = known_local(work, work.unique[0])
        if local >= 0:
            work.flags[local] |= EXCLUDED
