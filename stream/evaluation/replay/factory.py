"""Construction of the learner that a replay of the default model needs.

This file decides that one shard is a `ModelLearner` and several shards are a `ShardedLearner`. Importing it compiles or
loads the kernels of the model, so `run` imports it only if no other learner is given.
"""

from __future__ import annotations

from stream.evaluation.protocol import EvaluationProtocol, Plan
from stream.evaluation.replay.event_batch import event_batch_of, ratings_sample
from stream.evaluation.replay.history import History
from stream.evaluation.replay.learner import Learner
from stream.evaluation.replay.model_learner import ModelLearner
from stream.evaluation.replay.sharded_learner import ShardedLearner
from stream.models.ranking.rank import options_of
from stream.models.settings import ModelSettings


def build_learner(
    history: History, protocol: EvaluationProtocol, settings: ModelSettings, plan: Plan, *, shards: int = 1
) -> Learner:
    """Build the default model, as one shard or as several, ready to replay a history from its start.

    Args:
        history: the events.
        protocol: decides what may be ranked, and the visitor of each event.
        settings: settings of the model, the same for every shard.
        plan: which events are learned, and what the ranker may learn from.
        shards: number of shards that share the visitors.
    """
    options = options_of(settings, exclude_last=protocol.exclude_last)._replace(by_session=protocol.by == "session")
    batch, codes = event_batch_of(history, settings, plan), history.data.item.codes
    if shards == 1:
        return ModelLearner(batch, codes, settings, options, rated=ratings_sample(batch, settings.seed))
    return ShardedLearner(batch, codes, settings, options, plan, shards)
