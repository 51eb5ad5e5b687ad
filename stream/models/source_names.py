"""Names and numbers of the sources of recommendations, and the half-lives of popularity.

This file decides which sources there are, in which order, and over which half-lives popularity is counted. It imports
only the registry of sources of one's own, so that settings can check a name without loading a model.
"""

from __future__ import annotations

from stream.models.source_registry import CUSTOM_MODULES

HALF_LIVES_SECONDS = (1200.0, 7200.0, 43_200.0, 259_200.0, 2_592_000.0)
HALF_LIFE_NAMES = ("20m", "2h", "12h", "3d", "30d")
HALF_LIVES = len(HALF_LIVES_SECONDS)
LONGEST = HALF_LIVES - 1
"""Number of the longest half-life."""

BUILT_IN = (
    "transition",
    "transition_fast",
    "transitions",
    "cosine",
    "cosine_flat",
    "vsknn",
    "stan",
    *(f"popular_{name}" for name in HALF_LIFE_NAMES),
    "embedding",
)
CUSTOM = tuple(CUSTOM_MODULES)
"""Names of the sources of one's own, sorted; see `stream.models.sources.custom`."""

SOURCES = BUILT_IN + CUSTOM
"""Names of all sources; the place of a name is the number of the source."""
TRANSITION, TRANSITION_FAST, TRANSITIONS, COSINE, COSINE_FLAT, VSKNN, STAN, POPULAR = range(8)
"""Numbers of the sources; popularity over half-life `h` is `POPULAR + h`."""
EMBEDDING = POPULAR + HALF_LIVES
FIRST_CUSTOM = EMBEDDING + 1
SOURCE_COUNT = len(SOURCES)

RANKING_NAMES = (*SOURCES, "blend", "challenger")
"""Names of the rankings that are tested, by number: the sources, the champion (named `blend`), the challenger."""

if clash := sorted(set(BUILT_IN) & set(CUSTOM)):
    raise ValueError(
        f"the source {clash[0]!r} of {CUSTOM_MODULES[clash[0]]} is named like a built-in source; rename its entry point"
    )
