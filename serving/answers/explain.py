"""Reasons of a list: the same decision, taken step by step, with what each step did to each item.

This file decides which rules are named, and how a rule's part of a score is shown. The parts of the model's own scores
are decided in `stream.models.ranking.explanation`. A list is what `decision.decide` gives, explained or not; nothing
here runs for a request that asks for no reasons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from serving.answers.contexts import BOUGHT_TOGETHER
from serving.answers.decision import ARRANGEMENTS, EMPTY, ArrangementPolicy, Ask, Context, Plan, plan, score
from serving.answers.response import Explanation, ListReasons
from stream.catalogue.filters import HIDDEN
from stream.models.model import Model
from stream.models.query import Ranking
from stream.models.ranking.explanation import FeaturePart, Reasons, explain_added, explain_baskets, explain_counts

NAMES = {"fill_with_unmet": "without_events"}
"""Names of policies in answers, where they are not those of the functions."""

NOTHING = Reasons(0.0, [])
"""Reasons of an item before any rule has added to its score."""


def explain(
    ask: Ask, context: Context, arrangements: Sequence[ArrangementPolicy] = ARRANGEMENTS
) -> tuple[Ranking, Explanation]:
    """The list for a request, as `decision.decide` gives it, and its reasons.

    Args:
        ask: the request.
        context: version, model and catalogue.
        arrangements: policies after scoring.
    """
    ranking, reasons = EMPTY, list[Reasons]()
    ranker = "counts"
    if context.model is not None:
        planned = plan(ask, context)
        if ask.context == BOUGHT_TOGETHER:
            ranking, reasons = explain_bought_together(context.model, planned)
        else:
            ranking, reasons = explain_scores(context.model, planned)
        counted = planned.half_life is not None or ranking.together
        ranker = ranker if counted else context.model.settings.ranker
    for policy in arrangements:
        arranged = policy(ranking, ask, context)
        name = NAMES.get(policy.__name__, policy.__name__)
        reasons = after_policy(name, ranking, reasons, arranged)
        ranking = arranged
    return ranking, Explanation(ListReasons(ranker, list(named_policies(ask, context))), reasons)


def explain_scores(model: Model, planned: Plan) -> tuple[Ranking, list[Reasons]]:
    """The ranking of a plan, as `decision.score` gives it, and the reasons of each of its items."""
    if planned.half_life is None:
        return model.explain(planned.query, planned.allowed)
    ranking = score(model, planned)
    return ranking, explain_counts(ranking.scores, planned.half_life)


def explain_bought_together(model: Model, planned: Plan) -> tuple[Ranking, list[Reasons]]:
    """The list of what is bought together, as `decision.decide` gets it, and the reasons of each of its items."""
    ranking = model.bought_together(planned.query, planned.allowed)
    if not ranking.together:
        similar, reasons = model.explain(planned.query, planned.allowed)
        return msgspec.structs.replace(similar, together=0), reasons
    added = len(ranking.items) - ranking.together - ranking.popular - ranking.newest
    policies = ["similar"] * added + ["popular"] * ranking.popular + ["newest"] * ranking.newest
    baskets = ranking.scores[: ranking.together]
    return ranking, explain_baskets(baskets) + explain_added(baskets, policies)


def after_policy(policy: str, before: Ranking, reasons: Sequence[Reasons], after: Ranking) -> list[Reasons]:
    """Reasons after a policy, which is named with each item that it added, put elsewhere or scored anew.

    What it added to a score is shown as a feature of its name.
    """
    if after is before:
        return list(reasons)
    known = {item: (scored, why) for item, scored, why in zip(before.items, before.scores, reasons, strict=True)}
    kept = set(after.items)
    places = {item: place for place, item in enumerate(item for item in before.items if item in kept)}
    found = []
    for place, (item, scored) in enumerate(zip(after.items, after.scores, strict=True)):
        earlier, why = known.get(item, (0.0, NOTHING))
        if scored != earlier:
            why = msgspec.structs.replace(why, features=[*why.features, FeaturePart(policy, scored - earlier, 1.0)])
        if scored != earlier or places.get(item) != place:
            why = msgspec.structs.replace(why, policies=[*why.policies, policy])
        found.append(why)
    return found


def named_policies(ask: Ask, context: Context) -> Iterator[str]:
    """Names of the rules that decided which items could be in the list, in the words of the request."""
    if context.view is not None and context.view.allowed is not None:
        yield "catalogue"
    if not ask.wanted.passes_unknown:
        yield "filter"
    for name in HIDDEN:
        if getattr(ask.wanted, name):
            yield name
    for name in ("include", "exclude", "basket", "candidates", "exclude_seen"):
        if getattr(ask, name):
            yield name
    if ask.seen_kinds:
        yield "exclude_seen"
    if not ask.profiling:
        yield "profiling=off"
    if context.model is not None and context.model.settings.repeats == "first":
        yield "repeats=first"
