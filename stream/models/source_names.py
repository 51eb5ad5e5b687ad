"""This file decides which sources of recommendations there are, in which order, and over which half-lives popularity is
counted. It imports nothing, so that settings can check a name without loading a model.
"""

from __future__ import annotations

HALF_LIVES_SECONDS = (1200.0, 7200.0, 43_200.0, 259_200.0, 2_592_000.0)
HALF_LIFE_NAMES = ("20m", "2h", "12h", "3d", "30d")
HALF_LIVES = len(HALF_LIVES_SECONDS)
LONGEST = HALF_LIVES - 1

ADDED: tuple[str, ...] = ()
"""Names of sources of one's own, each a file of this folder: see `stream/models/sources/custom.py`."""

SOURCES = (
    "transition",
    "transition_fast",
    "transitions",
    "cosine",
    "cosine_flat",
    "vsknn",
    "stan",
    "popular_20m",
    "popular_2h",
    "popular_12h",
    "popular_3d",
    "popular_30d",
    "embedding",
    *ADDED,
)
"""Names of the sources; the place of a name is the source's number."""
TRANSITION, TRANSITION_FAST, TRANSITIONS, COSINE, COSINE_FLAT, VSKNN, STAN, POPULAR = range(8)
EMBEDDING = POPULAR + HALF_LIVES
