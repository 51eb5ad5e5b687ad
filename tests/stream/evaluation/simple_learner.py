"""A learner that can be read in a minute: popularity, rules from the last item, and their sum, over all seen items."""

from collections import Counter, defaultdict

import numpy as np

from stream.evaluation.protocol import Action
from stream.evaluation.replay.learner import SpanOutcomes


class SimpleLearner:
    names = ("popularity", "rules", "blend")
    challengers = ()

    def __init__(self, visitor, item, *, no_repeats=False, exclude_last=False, weights=None):
        self.visitor, self.item = visitor, item
        self.no_repeats, self.exclude_last = no_repeats, exclude_last
        self.count, self.after, self.had = Counter(), defaultdict(Counter), defaultdict(list)
        self.weights = np.ones(len(item)) if weights is None else weights

    def scores(self, visitor, candidates):
        last = self.had[visitor][-1] if self.had[visitor] else None
        popular = np.array([self.count[item] for item in candidates], float)
        rules = np.array([self.after[last][item] for item in candidates], float)
        return np.column_stack([popular, rules, popular / (popular.sum() or 1) + rules])

    def candidates(self, visitor):
        items = set(self.count)
        if self.no_repeats:
            items -= set(self.had[visitor])
        if self.exclude_last and self.had[visitor]:
            items.discard(self.had[visitor][-1])
        return sorted(items)

    def model_metrics(self):
        return {}

    def replay(self, start, stop, actions, *, top, export=False):
        rows, lists, offsets, candidate, scored = [], [], [0], [], []
        for event in range(start, stop):
            visitor, item, bits = int(self.visitor[event]), int(self.item[event]), actions[event]
            if bits & Action.TEST:
                candidates = self.candidates(visitor)
                scores = self.scores(visitor, candidates)
                found = item in candidates
                own = scores[candidates.index(item)] if found else np.full(3, np.inf)
                greater, equal = (scores > own).sum(0), (scores == own).sum(0) - found
                rows.append((event, greater, equal, found, len(candidates), 0))
                order = np.argsort(-scores[:, 2], kind="stable")[:top]
                best = [candidates[place] for place in order]
                lists.append(best + [-1] * (top - len(best)))
                candidate += candidates
                scored += scores.tolist()
                offsets.append(len(candidate))
            if bits & Action.LEARN:
                self.count[item] += self.weights[event]
                if self.had[visitor]:
                    self.after[self.had[visitor][-1]][item] += self.weights[event]
            if bits & (Action.LEARN | Action.SHOW):
                self.had[visitor].append(item)
        parts = list(zip(*rows, strict=True)) or [()] * 6
        return SpanOutcomes(
            event=np.array(parts[0], np.int64),
            greater=np.array(parts[1], np.int32).reshape(-1, 3),
            equal=np.array(parts[2], np.int32).reshape(-1, 3),
            found=np.array(parts[3], bool),
            candidates=np.array(parts[4], np.int32),
            fallback=np.array(parts[5], np.uint8),
            top=np.array(lists, np.int32).reshape(-1, top),
            offsets=np.array(offsets, np.int64) if export else None,
            candidate=np.array(candidate, np.int32) if export else None,
            scores=np.array(scored, np.float32).reshape(-1, 3) if export else None,
        )


def learner_for(history, protocol, settings=None):
    """The simple learner for a history, with the weights of kinds in the settings."""
    weights = None
    if settings is not None:
        by_kind = [settings.weights.get(kind, 1.0) for kind in history.data.event.names]
        weights = np.array(by_kind)[history.data.event.codes]
    return SimpleLearner(
        history.visitor(protocol.by).codes,
        history.data.item.codes,
        no_repeats=protocol.no_repeats,
        exclude_last=protocol.exclude_last,
        weights=weights,
    )
