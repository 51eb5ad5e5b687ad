"""Training rows, contexts and forbidden items, beside the same thing written as loops over events."""

import numpy as np
import pytest

from benchmarks.neural.sequences import contexts_of, earlier_items, number_items, sequences_of, training_rows

SEEDS = [0, 1, 2, 3]


@pytest.fixture(params=SEEDS, ids="seed {}".format)
def stream(request):
    """Visitors and items of 300 random events, and which of them are learned."""
    random = np.random.default_rng(request.param)
    visitor, item = random.integers(0, 12, 300), random.integers(0, 20, 300)
    return visitor, item, random.random(300) < 0.7


def before(visitor, event):
    return [other for other in range(event) if visitor[other] == visitor[event]]


def test_items_are_numbered_from_one_and_only_learned_ones():
    number, items = number_items(np.array([7, 3, 9, 3, 7]), np.array([True, True, False, False, False]))
    assert number.tolist() == [2, 1, 0, 1, 2]
    assert items == 2


def test_a_context_is_the_last_known_items_before_the_test_oldest_first(stream):
    visitor, item, learned = stream
    number, _ = number_items(item, learned & (item > 2))
    tests = np.arange(0, 300, 3)
    contexts = contexts_of(sequences_of(visitor), number, tests, 5)
    for test, context in zip(tests, contexts, strict=True):
        known = [number[other] for other in before(visitor, test) if number[other]][-5:]
        assert context.tolist() == known + [0] * (5 - len(known))


def test_every_learned_event_with_a_context_is_a_target_once_and_its_row_holds_what_came_before(stream):
    visitor, item, learned = stream
    number, _ = number_items(item, learned)
    readable = np.arange(300) < 200
    rows, targets = training_rows(
        sequences_of(visitor), number, readable=readable, learned=learned & readable, length=4
    )
    found = []
    for row, target in zip(rows, targets, strict=True):
        found += [(*row[: place + 1].tolist(), int(target[place])) for place in np.flatnonzero(target)]
    expected = []
    for event in range(200):
        known = [int(number[other]) for other in before(visitor, event) if number[other]]
        if learned[event] and known:
            first = (len(known) - 1) // 4 * 4  # the row in which the last item before the event stands
            expected.append((*known[first:], int(number[event])))
    assert sorted(found) == sorted(expected)


def test_padding_stands_behind_the_items_and_predicts_nothing(stream):
    visitor, item, learned = stream
    number, _ = number_items(item, learned)
    rows, targets = training_rows(sequences_of(visitor), number, readable=learned, learned=learned, length=7)
    sizes = (rows > 0).sum(axis=1)
    assert all((row[:size] > 0).all() for row, size in zip(rows, sizes, strict=True))
    assert not targets[rows == 0].any()
    assert targets.any(axis=1).all()


@pytest.mark.parametrize("only_last", [False, True])
def test_forbidden_items_are_those_that_the_visitor_had_before(stream, only_last):
    visitor, item, learned = stream
    number, _ = number_items(item, learned)
    tests = np.arange(0, 300, 3)
    position, forbidden = earlier_items(sequences_of(visitor), number, tests, only_last=only_last)
    for place, test in enumerate(tests):
        had = [number[other] for other in before(visitor, test)][-1 if only_last else 0 :]
        assert forbidden[position == place].tolist() == had


def test_a_visitor_without_a_second_event_gives_no_row():
    rows, targets = training_rows(
        sequences_of(np.array([4, 5, 6])),
        np.array([1, 2, 1]),
        readable=np.ones(3, bool),
        learned=np.ones(3, bool),
        length=3,
    )
    assert rows.shape == targets.shape == (0, 3)
