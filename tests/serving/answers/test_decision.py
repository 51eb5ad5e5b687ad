"""The plan before scoring and the arrangement after it: masks, order, length, and that both are pure."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from serving.answers import contexts, decision, rankings
from serving.answers.contexts import BOUGHT_TOGETHER, POPULAR_HALF_LIFE, TRENDING_HALF_LIFE
from serving.answers.decision import EMPTY, Ask, Context, arrange, cut_to_length, decide, plan
from stream.models.query import Ranking
from tests.serving.answers.shop import ITEMS, shop

SERVED = shop().served
CONTEXT = SERVED.context

ASKS = {
    "visitor": Ask(user="u1", n=24),
    "visitor and session": Ask(user="u1", session="v2", n=24),
    "session": Ask(session="v2", n=24),
    "unknown visitor": Ask(user="stranger", n=24),
    "recent": Ask(recent=["item 3", "item 20"], n=24),
    "exclude_seen": Ask(user="u1", exclude_seen=True, n=24),
    "exclude": Ask(user="u1", exclude=ITEMS[:3], n=24),
    "candidates": Ask(user="u1", candidates=ITEMS, n=24),
    "similar": Ask(item="item 20", n=24),
    "bought together": Ask(item="item 20", context=BOUGHT_TOGETHER, n=24),
    "popular": Ask(half_life=POPULAR_HALF_LIFE, n=24),
    "trending": Ask(half_life=TRENDING_HALF_LIFE, n=24),
}


def hiding(*items: str):
    """A mask policy that hides these items."""

    def hide(_: Ask, context: Context) -> np.ndarray:
        mask = np.ones(len(context.model.views["items"][1]), np.uint8)
        mask[context.model._items(items)] = 0
        return mask

    return hide


def hides_nothing(_: Ask, __: Context) -> None:
    return None


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_hidden_items_are_nowhere_in_a_list_and_others_take_their_places(ask: Ask):
    hidden = set(ITEMS[::3])
    everything = decide(ask, CONTEXT).items
    rest = decide(ask, CONTEXT, [hiding(*hidden)]).items
    assert hidden & set(everything), "the mask hides something of this list"
    assert set(rest) == set(everything) - hidden
    short = decide(type(ask)(**{**fields_of(ask), "n": 4}), CONTEXT, [hiding(*hidden)]).items
    assert short == rest[:4]
    assert len(short) == 4


def fields_of(ask: Ask) -> dict:
    return {name: getattr(ask, name) for name in ask.__struct_fields__}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_mask_that_allows_everything_is_no_mask(ask: Ask):
    assert decide(ask, CONTEXT, [hiding()]) == decide(ask, CONTEXT)


def test_an_item_that_one_mask_hides_is_hidden_whatever_the_others_say():
    ask = Ask(user="u1", n=24)
    both = decide(ask, CONTEXT, [hiding("item 3"), hides_nothing, hiding("item 20")])
    assert set(both.items) == set(ITEMS) - {"item 3", "item 20"}
    assert plan(ask, CONTEXT, [hiding("item 3"), hiding("item 20")]).allowed.mask.dtype == np.uint8


def test_without_a_policy_that_hides_there_is_no_mask():
    assert plan(Ask(user="u1"), CONTEXT).allowed is None
    assert plan(Ask(user="u1"), CONTEXT, [hides_nothing, hides_nothing]).allowed is None


def test_arrangements_are_applied_in_their_order_and_the_last_one_cuts():
    def reverse(ranking: Ranking, _: Ask, __: Context) -> Ranking:
        return Ranking(ranking.items[::-1], ranking.scores[::-1], ranking.fallback)

    ranking = Ranking(["a", "b", "c"], [3.0, 2.0, 1.0], "popular")
    arranged = arrange(ranking, Ask(n=2), CONTEXT, [reverse, cut_to_length])
    assert arranged == Ranking(["c", "b"], [1.0, 2.0], "popular")
    assert decision.ARRANGEMENTS[-1] is cut_to_length


def test_an_arrangement_that_changes_nothing_gives_back_the_very_ranking():
    ranking = Ranking(["a", "b"], [2.0, 1.0], None)
    assert arrange(ranking, Ask(n=2), CONTEXT) is ranking


def test_before_the_first_version_the_list_is_empty_and_says_so():
    for ask in ASKS.values():
        assert decide(ask, None) is EMPTY
    assert (EMPTY.items, EMPTY.scores, EMPTY.fallback) == ([], [], "empty")


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_the_same_ask_gives_the_same_list(ask: Ask):
    assert decide(ask, CONTEXT) == decide(ask, CONTEXT)


def test_the_decision_knows_no_loader_no_http_no_clock_and_no_chance():
    trees = [ast.parse(Path(module.__file__).read_text()) for module in (decision, contexts, rankings)]
    imported = {node.module for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {
        name.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }
    assert imported == {
        "__future__",
        "collections.abc",
        "itertools",
        "msgspec",
        "numpy",
        "numpy.typing",
        "serving.answers",
        "serving.answers.contexts",
        "stream.catalogue.filters",
        "stream.catalogue.snapshot",
        "stream.models.model",
        "stream.models.query",
        "stream.models.ranking.allowed",
        "stream.models.source_names",
        "stream.versions",
    }
