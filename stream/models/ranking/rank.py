"""One answer, from gathered history to scored candidates: one code for testing and for serving."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from stream.models.kernels.compile import kernel, padded, vectored
from stream.models.ranking import candidates, ranker
from stream.models.schema import FEATURES
from stream.models.settings import ModelSettings
from stream.models.source_names import SOURCES
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, LOCAL, UNIQUE, Work, known_local
from stream.models.workspace.visitor_context import EXCLUDED, HAD


class Options(NamedTuple):
    """What may be ranked, and by what.

    Attributes:
        only_first: repeats are neither learned nor ranked (the setting `repeats = first`).
        by_session: a repeat is one within the session, not within the visitor's life.
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
    """What these settings allow, and what a request adds."""
    return Options(
        only_first=settings.repeats == "first",
        exclude_last=exclude_last,
        exclude_had=exclude_had,
        disabled=sum(1 << SOURCES.index(source) for source in settings.disabled_sources),
    )


@kernel
def rank(reader: Reader, work: Work, options: Options, seen_by: np.uint64) -> None:
    """Candidates, features and scores for the history that was gathered in `work`.

    Args:
        seen_by: key of the visitor (or session) whose remembered items are not ranked; 0 if repeats are allowed.
    """
    order(reader, work, options, seen_by, work.all_items)
    candidates.lay_out(work)
    challenge(reader, work)


@kernel
def order(reader: Reader, work: Work, options: Options, seen_by: np.uint64, allowed: np.ndarray) -> None:
    """Candidates and their scores, without what only learning and the challenger look at.

    Args:
        seen_by: as `rank` takes it.
        allowed: (item rows,) uint8, 0 = never a candidate; empty = all may be.
    """
    exclude(work, options)
    candidates.collect(reader, work)
    candidates.propose(reader, work, seen_by, not options.only_first, options.disabled, allowed)
    candidates.describe(reader, work, options.disabled)
    ranker.score(reader, work)


@kernel
def order_these(reader: Reader, work: Work, options: Options, wanted: np.ndarray, allowed: np.ndarray) -> None:
    """Scores of the candidates that the request named; `allowed` as `order` takes it."""
    exclude(work, options)
    candidates.collect(reader, work)
    for row in wanted:
        candidates.take_item(work, row, allowed)
    candidates.describe(reader, work, options.disabled)
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


@kernel
def challenge(reader: Reader, work: Work) -> None:
    """Scores of the challenger, which is linear in the same features."""
    weights = reader.challenger[reader.challenger_index[0]]
    wide = padded(work.counts[CANDIDATE])
    scores = work.challenger[:wide]
    scores[:] = 0
    for feature in range(FEATURES):
        add_weighted(work.candidate_features[feature, :wide], weights[feature], scores)


@vectored
def add_weighted(values: np.ndarray, weight: float, out: np.ndarray) -> None:
    for number in range(out.size):
        out[number] += weight * values[number]
