"""The planted shop: measurements give what was planted."""

from __future__ import annotations

import pytest

from simulators.shoppers import ANONYMOUS, Shop, Step

STEPS = 20_000


def clicks_within_visits(shop: Shop, steps: int) -> list[tuple[str, str]]:
    """Pairs of items that were clicked one after the other in one visit."""
    last: dict[str, str] = {}
    pairs = []
    for _ in range(steps):
        step = shop.step()
        if step.kind == "click":
            if step.session in last:
                pairs.append((last[step.session], step.item))
            last[step.session] = step.item
    return pairs


def test_one_seed_gives_one_history() -> None:
    one, same, other = Shop(seed=1), Shop(seed=1), Shop(seed=2)
    history = [one.step() for _ in range(500)]
    assert history == [same.step() for _ in range(500)]
    assert history != [other.step() for _ in range(500)]


def test_lists_made_with_the_tastes_reach_the_promised_hit_rate_and_popular_items_do_not() -> None:
    shop = Shop(seed=3)
    pairs = clicks_within_visits(shop, STEPS)
    counts: dict[str, int] = {}
    for _, item in pairs:
        counts[item] = counts.get(item, 0) + 1
    popular = sorted(counts, key=counts.__getitem__, reverse=True)[:10]

    def best_list(last: str) -> list[str]:
        taste = shop.tastes[shop._taste_of[last]]
        follower = taste[(taste.index(last) + 1) % len(taste)]
        return [follower, *(item for item in taste if item != follower)][:10]

    knowing = sum(item in best_list(last) for last, item in pairs) / len(pairs)
    unknowing = sum(item in popular for _, item in pairs) / len(pairs)
    assert knowing == pytest.approx(shop.best_hit_rate(10), abs=0.08)
    assert unknowing < knowing / 3


def test_a_new_season_breaks_what_went_together() -> None:
    shop = Shop(seed=4)
    before = [list(taste) for taste in shop.tastes]
    shop.next_season(share=0.5)
    moved = sum(
        old != new for was, now in zip(before, shop.tastes, strict=True) for old, new in zip(was, now, strict=True)
    )
    assert 0.4 * len(shop.items) < moved <= 0.5 * len(shop.items)
    assert sorted(item for taste in shop.tastes for item in taste) == sorted(shop.items)
    assert all(item in shop.tastes[shop._taste_of[item]] for item in shop.items)


def test_people_buy_what_they_looked_at_and_bring_back_what_they_bought() -> None:
    shop = Shop(seed=5)
    looked: dict[str, set[str]] = {}
    bought: dict[str, list[str]] = {}
    kinds: dict[str, int] = {}
    for _ in range(STEPS):
        step: Step = shop.step()
        shopper = step.session.rpartition("-visit-")[0]
        kinds[step.kind] = kinds.get(step.kind, 0) + 1
        if step.kind == "click":
            looked.setdefault(shopper, set()).add(step.item)
        elif step.kind == "purchase":
            assert step.item in looked[shopper]
            bought.setdefault(shopper, []).append(step.item)
        else:
            bought[shopper].remove(step.item)
    assert kinds["click"] > kinds["purchase"] > kinds["return"] > 0


def test_some_shoppers_are_known_by_their_session_alone() -> None:
    shop = Shop(seed=6)
    steps = [shop.step() for _ in range(5000)]
    named = {step.session for step in steps if step.user is not None}
    anonymous = {step.session for step in steps if step.user is None}
    assert not named & anonymous
    shoppers = {session.rpartition("-visit-")[0] for session in named | anonymous}
    unnamed = {session.rpartition("-visit-")[0] for session in anonymous}
    assert len(unnamed) / len(shoppers) == pytest.approx(ANONYMOUS, abs=0.06)
