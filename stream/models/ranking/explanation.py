"""Reasons of a list: what each score is a sum of, and which items of the history are behind it.

The challenger's score is linear. The champion adds a network of leaky units (`ranker.py`), which is linear on each
side of the bend of every unit. So there is, for each candidate, one weight for each feature and one intercept with
which its score is an exact sum: those of the side that the candidate lies on. The contribution of a source is the sum
of its three features.

The part of a history item is found by letting the sources score again, from that item alone: pairs by `collect_pairs`,
neighbour sessions by `score_neighbour` with the similarity that the item gives them, the embedding by the item's
vector. The contribution of a source is divided among the items in proportion to what each of them gives the candidate.

This file decides how a score is taken apart, and how a source's contribution is divided. It reads what the last list of
the thread left in the scratch arrays, so a list without reasons costs nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream.models.feature_names import (
    CANDIDATE_FEATURE_NAMES,
    FEATURES,
    LIKE_LAST,
    OWN_IN_SESSION,
    OWN_PRESENT,
    SOURCE_PARTS,
)
from stream.models.kernels.compile import kernel
from stream.models.kernels.ordinals import listed_ordinal
from stream.models.kernels.row_pool import ring_row
from stream.models.ranking.collect import collect_pairs
from stream.models.ranking.ranker import LEAK, OUTPUT
from stream.models.schema import DIMENSIONS, HIDDEN, SESSIONS_BEGUN
from stream.models.source_names import (
    COSINE,
    COSINE_FLAT,
    EMBEDDING,
    SOURCE_COUNT,
    SOURCES,
    STAN,
    TRANSITION,
    TRANSITION_FAST,
    TRANSITIONS,
    VSKNN,
)
from stream.models.sources import cosine, embedding, vsknn
from stream.models.workspace.scoring_view import Reader
from stream.models.workspace.scratch import CANDIDATE, DISLIKED, LOCAL, MET, SESSION, TOUCHED, UNIQUE, Work

BY_PAIRS = (TRANSITION, TRANSITION_FAST, TRANSITIONS, COSINE, COSINE_FLAT)
BY_NEIGHBOURS = (VSKNN, STAN)
MAX_HISTORY = 10
"""Items of the history that are named for one item of a list: those with the largest contributions."""
OWN_HISTORY = "own_history"
LAST_ITEM = "like_last"
"""Names, beside those of the sources, of ways in which a history item contributes: the item of the list is in the
history itself; it goes with the last item of the history."""

PLACE = "place_added"
"""Name of the feature of an item that was added behind the ranked ones: its place among them, from 0."""


BASKETS = "bought_together"
"""Name of the source of items that are bought together with an item."""
DISLIKED_NEARBY = "disliked_nearby"
"""Name of the feature of an item that lies near one that the visitor disliked: the amount that this took."""


class FeaturePart(msgspec.Struct, frozen=True):
    """One feature's part of a score: `value` times `weight`."""

    feature: str
    """Name of the feature."""
    value: float
    """Value of the feature for this item."""
    weight: float
    """Weight of the feature in this item's score."""


class SourcePart(msgspec.Struct, frozen=True):
    """One source's part of a score."""

    source: str
    """Name of the source."""
    value: float
    """Value that the source gives the item."""
    rank: int
    """Place of the item among all candidates by this source alone, from 1."""
    contribution: float
    """Sum of the parts of the source's features."""


class HistoryPart(msgspec.Struct, frozen=True):
    """The part of a score that one item of the visitor's history stands behind."""

    item: str
    """The item of the history."""
    contribution: float
    """Its share of the contributions of these sources."""
    sources: list[str]
    """Sources that led from it to the item of the list, the largest part first."""


class Reasons(msgspec.Struct, frozen=True):
    """Sum that a score is: `score` = `intercept` + the sum of `value` · `weight` over `features`."""

    intercept: float
    """Part of the score that no feature has."""
    features: list[FeaturePart]
    """Features that are not 0, the largest part first."""
    sources: list[SourcePart] = []
    """Sources that know the item, the largest contribution first."""
    history: list[HistoryPart] = []
    """Items of the visitor's history behind it, the largest contribution first, at most ten."""
    policies: list[str] = []
    """Rules that put the item at its place; empty if the score alone did."""


class Behind(msgspec.Struct, frozen=True):
    """An item of the history, as `HistoryPart`, by its row."""

    row: int
    contribution: float
    sources: list[str]


class Explained(msgspec.Struct, frozen=True):
    """Reasons of one candidate, with the history by row."""

    reasons: Reasons
    history: list[Behind]


def explain_candidates(
    reader: Reader, work: Work, rows: NDArray[np.int64], *, by_challenger: bool
) -> dict[int, Explained]:
    """The reasons of candidates of the last list that this thread made, by row of the item.

    Rows that were no candidates are left out.

    Args:
        reader: the tables that the list was made from.
        work: scratch arrays of the thread, as the list left them.
        rows: items to explain.
        by_challenger: the challenger ordered the list.
    """
    count = int(work.counts[CANDIDATE])
    numbers = {int(row): number for number, row in enumerate(work.items[work.candidates[:count]])}
    chosen = [(int(row), numbers[int(row)]) for row in rows if int(row) in numbers]
    at = np.array([number for _, number in chosen], np.int64)
    values = work.candidate_features[:FEATURES, at].T.astype(np.float64)
    weights, intercepts = _weights(reader, work, at, by_challenger=by_challenger)
    source_values = work.source_values[:SOURCE_COUNT, :count].copy()
    unique = work.unique[: work.counts[UNIQUE]].copy()
    parts = _parts_of_history(reader, work, at)
    found = {}
    for place, (row, number) in enumerate(chosen):
        contributions = values[place] * weights[place]
        by_source = contributions[: SOURCE_PARTS * SOURCE_COUNT].reshape(SOURCE_COUNT, SOURCE_PARTS).sum(axis=1)
        lowered = float(work.lowered[number]) if work.counts[DISLIKED] else 0.0
        by_dislikes = [FeaturePart(DISLIKED_NEARBY, _short(lowered), -1.0)] if lowered else []
        reasons = Reasons(
            _short(intercepts[place]),
            _features(values[place], weights[place], contributions) + by_dislikes,
            _sources(source_values, number, by_source),
            policies=["dislikes"] if lowered else [],
        )
        found[row] = Explained(reasons, _history(unique, row, parts[:, :, place], by_source, contributions))
    return found


def explain_added(ranked_scores: Sequence[float], policies: Sequence[str]) -> list[Reasons]:
    """The reasons of items that go on behind a list, in their order: each has one less than the one before it.

    Args:
        ranked_scores: scores of the list before them.
        policies: for each added item, the rule that added it.
    """
    least = ranked_scores[-1] if ranked_scores else 0.0
    return [
        Reasons(least - 1.0, [FeaturePart(PLACE, float(place), -1.0)] if place else [], policies=[policy])
        for place, policy in enumerate(policies)
    ]


def explain_counts(scores: Sequence[float], half_life: str) -> list[Reasons]:
    """The reasons of items that are listed by their decayed counts over a half-life."""
    source = f"popular_{half_life}"
    return [
        Reasons(0.0, [FeaturePart(f"{source}.count", score, 1.0)], [SourcePart(source, score, place, score)])
        for place, score in enumerate(scores, 1)
    ]


def explain_baskets(scores: Sequence[float]) -> list[Reasons]:
    """The reasons of items that are listed by the number of baskets that they share with an item."""
    return [
        Reasons(0.0, [FeaturePart(f"{BASKETS}.count", score, 1.0)], [SourcePart(BASKETS, score, place, score)])
        for place, score in enumerate(scores, 1)
    ]


def _weights(
    reader: Reader, work: Work, at: NDArray[np.int64], *, by_challenger: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(candidates, features) weights and (candidates,) intercepts of the candidates with these numbers."""
    if by_challenger:
        weights = reader.challenger[reader.challenger_index[0], :FEATURES].astype(np.float64)
        return np.tile(weights, (len(at), 1)), np.zeros(len(at))
    slopes = np.where(work.hidden[:HIDDEN, at] > 0, 1.0, LEAK).T  # (candidates, units)
    slopes = slopes * reader.network[reader.network_index[OUTPUT], :HIDDEN].astype(np.float64)
    linear = work.weights[:FEATURES].astype(np.float64)
    network = slopes @ work.dense[:HIDDEN, :FEATURES].astype(np.float64)
    return linear + network, slopes @ work.vector[:HIDDEN].astype(np.float64)


def _features(
    values: NDArray[np.float64], weights: NDArray[np.float64], contributions: NDArray[np.float64]
) -> list[FeaturePart]:
    order = sorted(np.flatnonzero(values).tolist(), key=lambda feature: -abs(contributions[feature]))
    return [
        FeaturePart(CANDIDATE_FEATURE_NAMES[feature], _short(values[feature]), _short(weights[feature]))
        for feature in order
    ]


def _sources(values: NDArray[np.float32], number: int, contributions: NDArray[np.float64]) -> list[SourcePart]:
    own = values[:, number]
    ranks = 1 + np.count_nonzero(values > own[:, None], axis=1)
    order = sorted(np.flatnonzero(own > 0).tolist(), key=lambda source: -contributions[source])
    return [
        SourcePart(SOURCES[source], _short(own[source]), int(ranks[source]), _short(contributions[source]))
        for source in order
    ]


def _history(
    unique: NDArray[np.int64],
    row: int,
    parts: NDArray[np.float64],
    by_source: NDArray[np.float64],
    contributions: NDArray[np.float64],
) -> list[Behind]:
    """The items behind one candidate.

    Args:
        unique: rows of the history, newest first.
        row: of the candidate.
        parts: (sources, history) amounts that each item of the history gives the candidate.
        by_source: contribution of each source.
        contributions: of each feature.
    """
    totals = parts.sum(axis=1)
    shares = np.divide(parts, totals[:, None], out=np.zeros_like(parts), where=totals[:, None] > 0)
    divided = {SOURCES[source]: shares[source] * by_source[source] for source in np.flatnonzero(totals > 0)}
    own = (unique == row) * contributions[OWN_PRESENT : OWN_IN_SESSION + 1].sum()
    last = (np.arange(len(unique)) == 0) * contributions[LIKE_LAST]
    ways = {**divided, OWN_HISTORY: own, LAST_ITEM: last}
    found = []
    for place, item in enumerate(unique.tolist()):
        amounts = {way: float(amount[place]) for way, amount in ways.items() if amount[place] != 0}
        if amounts:
            names = sorted(amounts, key=lambda way: -abs(amounts[way]))
            found.append(Behind(item, _short(sum(amounts.values())), names))
    return sorted(found, key=lambda behind: -abs(behind.contribution))[:MAX_HISTORY]


def _parts_of_history(reader: Reader, work: Work, at: NDArray[np.int64]) -> NDArray[np.float64]:
    """(sources, history, candidates) amounts that each item of the history gives to candidates, up to a factor for
    each source and candidate. The scores of the sources in `work` are lost.
    """
    unique = work.unique[: work.counts[UNIQUE]]
    parts = np.zeros((SOURCE_COUNT, len(unique), len(at)))
    locals_at = work.candidates[at]
    parts_by_pairs(reader, work, locals_at, parts)
    session = work.session[: min(vsknn.QUERY_ITEMS, work.counts[SESSION])]
    by_session = np.zeros((SOURCE_COUNT, len(session), len(at)))
    parts_by_neighbours(reader, work, locals_at, by_session)
    for place, item in enumerate(session):
        parts[:, unique == item] += by_session[:, place, None]
    used = unique[: embedding.CONTEXT_ITEMS]
    inputs = reader.vectors[reader.vectors_index[used], :DIMENSIONS].astype(np.float64)
    outputs = reader.vectors[reader.vectors_index[work.items[locals_at]], DIMENSIONS : 2 * DIMENSIONS]
    fades = embedding.FADE ** np.arange(len(used))
    parts[EMBEDDING, : len(used)] = np.maximum(0.0, fades[:, None] * (inputs @ outputs.T.astype(np.float64)))
    return parts


@kernel
def parts_by_pairs(reader: Reader, work: Work, wanted: np.ndarray, parts: np.ndarray) -> None:
    """Fill in what each item of the history gives by its pairs.

    Args:
        wanted: local numbers of the candidates.
        parts: (sources, history, candidates) of zeros.
    """
    for k in range(min(work.counts[UNIQUE], cosine.ITEMS)):
        for source in BY_PAIRS:
            work.values[source, : work.counts[LOCAL]] = 0
        collect_pairs(reader, work, k)
        for source in BY_PAIRS:
            for place in range(wanted.size):
                parts[source, k, place] = work.values[source, wanted[place]]


@kernel
def parts_by_neighbours(reader: Reader, work: Work, wanted: np.ndarray, parts: np.ndarray) -> None:
    """Fill in what each item of the session gives by the neighbours that have it; arguments as `parts_by_pairs`."""
    begun = np.int64(reader.scalars[SESSIONS_BEGUN])
    rows = reader.sessions_index.size
    query = parts.shape[1]
    neighbours = min(np.int64(vsknn.NEIGHBOURS), work.counts[MET])
    for z in range(query):
        for source in BY_NEIGHBOURS:
            work.values[source, : work.counts[LOCAL]] = 0
        work.counts[TOUCHED] = 0
        for number in range(neighbours):
            met = work.neighbours[number]
            session = ring_row(listed_ordinal(work.met_words[met], begun), rows)
            items = reader.session_items[reader.session_items_index[session]]
            has = False
            for column in range(np.int64(reader.sessions[reader.sessions_index[session]].items)):
                has = has or items[column] == work.session[z]
            if has:
                vsknn.score_neighbour(reader, work, session, (query - z) / query, work.met_newest[met])
        for source in BY_NEIGHBOURS:
            for place in range(wanted.size):
                parts[source, z, place] = work.values[source, wanted[place]]


def _short(number: float) -> float:
    """A number with nine digits, which a float32 has at most."""
    return float(f"{number:.9g}")
