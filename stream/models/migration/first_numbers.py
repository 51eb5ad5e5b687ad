"""First numbers: what a source, a ranking or a feature begins with in a model that has never learned it.

This file decides that these are the numbers of a new model: the weights that the ranker starts with, and a miss in
every test before.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.models.ranking import ranker
from stream.models.ranking.challenger import Challenger
from stream.models.schema import RANDOM, table_specs
from stream.models.settings import ModelSettings
from stream.models.workspace.learning_view import state_of
from stream.state.tables import Tables

SMALLEST = ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64)
"""Settings of the smallest model; weights have the same shape in all."""


def first_numbers(random: float) -> dict[str, NDArray]:
    """Tables with places for names, as a new model has them.

    Args:
        random: the model's source of randomness (`RANDOM` of `scalars`): equal ones give equal weights.
    """
    tables = Tables(table_specs(SMALLEST))
    state = state_of(tables, directories=False)
    state.scalars[RANDOM] = random
    ranker.begin(state)
    Challenger(tables["challenger"])
    names = ("linear", "network", "challenger", "outcomes", "drifts", "conversion", "pending")
    return {name: np.ascontiguousarray(tables[name].data) for name in names}
