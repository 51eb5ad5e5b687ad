"""The evaluation protocol, as pure functions over columns of events.

This file decides which events are learned, which are tested and what each one weighs. Events are taken in file order,
and each one is tested before it is learned. `plan` decides for a whole stream at once and writes one byte of `Action`
bits per event, which the compiled replay follows. No model is consulted, so the protocol is the same for every model
and can be checked by hand.

A stream is either **prequential** (every event is learned, and those after the warm-up are tested) or a **frozen
split**, whose `event` column has both `train` and `test`. In a frozen split, `train` rows are learned, `ctx` rows only
become the visitor's context, and `test` rows are ranked with all earlier rows of their visitor as context. Neither
`ctx` nor `test` rows are learned.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int32] | NDArray[np.int64]
Mask = NDArray[np.bool_]

RANKER_EVENTS = 40_000
"""The ranker learns from event number e with probability min(1, RANKER_EVENTS / e)."""


class WrongInput(ValueError):
    """Input that can't be evaluated. The message says what is wrong with it and what would be right."""


class Action(enum.IntFlag):
    """The steps for one event, taken in the order TEST, TRAIN_RANKER, then LEARN or SHOW."""

    NONE = 0
    LEARN = 1
    """The sources learn the event."""
    SHOW = 2
    """The event becomes the visitor's context and is not learned: context rows of a split, and repeats."""
    TEST = 4
    """The event's item is ranked and its rank is reported."""
    TRAIN_RANKER = 8
    """The event's item is ranked and the ranker learns from the outcome."""
    COUNT = 16
    """The event counts for its item, and nothing is kept under its visitor. It has no other step."""


@dataclass(frozen=True)
class EvaluationProtocol:
    """The rules by which a stream is evaluated.

    Attributes:
        by: the column that names the visitor. Histories, repeats and last items are counted per visitor.
        no_repeats: only a visitor's first event on an item counts; items that they had are never ranked.
        warmup: share of the events, from 0 to below 1, that is learned and not tested.
        every: one of this many testable events is tested; all of them are learned.
        exclude_last: the visitor's last item is never ranked.
        cutoffs: the k of HR@k, MRR@k and NDCG@k. Curves and slices use the first.
        seed: seed of the ranker's sample, of the model, and of the resampling in significance tests.

    Raises:
        WrongInput: a value is outside its range.
    """

    by: Literal["user", "session"] = "user"
    no_repeats: bool = False
    warmup: float = 0.2
    every: int = 1
    exclude_last: bool = False
    cutoffs: tuple[int, ...] = (10, 20)
    seed: int = 0

    def __post_init__(self) -> None:
        if self.by not in ("user", "session"):
            raise WrongInput(f"by: {self.by!r} is neither 'user' nor 'session'")
        if not 0 <= self.warmup < 1:
            raise WrongInput(f"warmup: {self.warmup!r} is a share of the events, from 0 to below 1 (0.2 is a fifth)")
        if self.every < 1:
            raise WrongInput(f"every: {self.every!r} is at least 1 (every event)")
        if not self.cutoffs or any(k < 1 for k in self.cutoffs) or len(set(self.cutoffs)) != len(self.cutoffs):
            raise WrongInput(f"k: {self.cutoffs!r} are different whole numbers, at least 1")


@dataclass(frozen=True)
class Plan:
    """The steps for each event of a stream.

    Attributes:
        actions: uint8[n] of `Action` bits.
        weights: float32[n], the weight of each event when it is learned.
        frozen: True if the stream is a frozen split.
        trainable: bool[n], the events that the ranker could learn from. A sample of them has TRAIN_RANKER.
        notes: properties of the stream that a reader of the figures should know.
    """

    actions: NDArray[np.uint8]
    weights: NDArray[np.float32]
    frozen: bool
    trainable: Mask
    notes: list[str] = field(default_factory=list)

    @property
    def tested(self) -> NDArray[np.int64]:
        """Numbers of the tested events, rising."""
        return np.flatnonzero(self.actions & Action.TEST)


def is_frozen_split(kinds: Sequence[str]) -> bool:
    """True if these kinds of events mean that the stream was already split into `train` and `test`."""
    return {"train", "test"} <= set(kinds)


def plan(
    *,
    visitor: Ints,
    item: Ints,
    kind: Ints,
    kinds: Sequence[str],
    time: NDArray[np.float64],
    protocol: EvaluationProtocol,
    kind_weights: Mapping[str, float] | None = None,
    value_weights: NDArray[np.float32] | None = None,
    aggregate: Mask | None = None,
) -> Plan:
    """Decide the steps for each event.

    Args:
        visitor: (n,) code of the visitor, at least 0.
        item: (n,) code of the item, at least 0.
        kind: (n,) index into `kinds`.
        kinds: names of the kinds.
        time: (n,) seconds. Only notes depend on it; the order is the order of the file.
        protocol: the rules.
        kind_weights: weight of each kind. Other kinds weigh 1, and so does every kind if only one occurs.
        value_weights: (n,) weight of an event by its own value, as of a rating; NaN where the kind decides. They
            count even if all events are ratings, as a worker counts them.
        aggregate: (n,) True for events that are only counted for their items; None if there are none. They belong to no
            visitor: none of them is tested, and none makes another event a repetition.

    Raises:
        WrongInput: the stream is empty, nothing can be tested, a time is NaN, or a frozen split has other kinds.
    """
    n = len(item)
    if n == 0:
        raise WrongInput("the stream is empty: no event was left to learn (see --events)")
    if not np.isfinite(time).all():
        raise WrongInput(f"event {int(np.flatnonzero(~np.isfinite(time))[0]) + 1} has a time that is not a number")
    occurring = np.unique(kind)
    names = [kinds[code] for code in occurring]
    frozen = is_frozen_split(names)
    known = np.ones(n, bool) if aggregate is None else ~aggregate
    fresh, first = np.zeros(n, bool), np.zeros(n, bool)
    fresh[known] = first_events_on_item(visitor[known], item[known])
    first[known] = first_events(visitor[known])
    testable = fresh if protocol.no_repeats else known & ~first
    actions = np.zeros(n, np.int64)
    if frozen:
        if others := sorted(set(names) - {"train", "test", "ctx"}):
            raise WrongInput(
                f"the event column has 'train' and 'test', so this is a frozen split, but also {others[0]!r}; "
                "a split has 'train', 'ctx' and 'test' (keep some kinds with --events, or rename them)"
            )
        counted = learned = np.isin(kind, [code for code in occurring if kinds[code] == "train"])
        to_test = testable & np.isin(kind, [code for code in occurring if kinds[code] == "test"])
        learned = learned & known & (fresh | (not protocol.no_repeats))
    else:
        counted, learned = np.ones(n, bool), fresh if protocol.no_repeats else known
        to_test = testable & (np.arange(n) >= int(protocol.warmup * n))
    weights = event_weights(kind, kinds, {} if frozen else (kind_weights or {}))
    if value_weights is not None and not frozen:
        weights = np.where(np.isnan(value_weights), weights, value_weights).astype(np.float32)
    actions[learned] |= Action.LEARN
    actions[known & ~learned] |= Action.SHOW
    actions[counted & ~known] |= Action.COUNT
    actions[np.flatnonzero(to_test)[:: protocol.every]] |= Action.TEST
    trainable = testable & learned & (weights > 0)
    actions[trainable & ranker_sample(learned, protocol.seed)] |= Action.TRAIN_RANKER
    if not (actions & Action.TEST).any():
        raise WrongInput(_why_nothing_is_tested(testable, frozen=frozen, protocol=protocol))
    return Plan(actions.astype(np.uint8), weights, frozen, trainable, _notes(time, visitor, item, kind))


def first_events(visitor: Ints) -> Mask:
    """Mark the first event of each visitor.

    >>> first_events(np.array([3, 3, 5, 3, 5])).tolist()
    [True, False, True, False, False]
    """
    first = np.zeros(len(visitor), bool)
    first[np.unique(visitor, return_index=True)[1]] = True
    return first


def first_events_on_item(visitor: Ints, item: Ints) -> Mask:
    """Mark the first event of each visitor on each item.

    >>> first_events_on_item(np.array([3, 3, 5, 3]), np.array([1, 2, 1, 1])).tolist()
    [True, True, True, False]
    """
    return first_events(visitor.astype(np.int64) * (int(item.max(initial=0)) + 1) + item)


def event_weights(kind: Ints, kinds: Sequence[str], kind_weights: Mapping[str, float]) -> NDArray[np.float32]:
    """Weight of each event by its kind. Unknown kinds weigh 1, and so does every kind if only one occurs.

    >>> kinds = ["click", "purchase", "r5"]
    >>> event_weights(np.array([0, 1, 2]), kinds, {"click": 1, "purchase": 3}).tolist()
    [1.0, 3.0, 1.0]
    >>> event_weights(np.array([1, 1]), kinds, {"click": 1, "purchase": 3}).tolist()
    [1.0, 1.0]
    """
    if len(np.unique(kind)) == 1:
        return np.ones(len(kind), np.float32)
    table = np.array([kind_weights.get(name, 1.0) for name in kinds], np.float32)
    return table[kind]


def ranker_sample(learned: Mask, seed: int) -> Mask:
    """Sample the events that the ranker may learn from.

    Learned event number e is drawn with probability min(1, RANKER_EVENTS / e). The draw is a hash of the seed and e, so
    it depends neither on the machine nor on which events are tested.
    """
    number = np.cumsum(learned)
    chance = np.minimum(1.0, RANKER_EVENTS / np.maximum(number, 1))
    return learned & (_uniform(number.astype(np.uint64), seed) < chance)


def _uniform(numbers: NDArray[np.uint64], seed: int) -> NDArray[np.float64]:
    """Hash numbers to [0, 1) by splitmix64 (Steele et al., OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        z = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64((seed * 0xD1342543DE82EF95 + 1) % 2**64)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (z >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _why_nothing_is_tested(testable: Mask, *, frozen: bool, protocol: EvaluationProtocol) -> str:
    if frozen:
        return "nothing can be tested: no `test` row's visitor has an earlier row"
    if not testable.any():
        return (
            "nothing can be tested: no visitor has a second event, and a visitor's first event is only tested with "
            f"--no-repeats ({testable.size} events, each of another {protocol.by}; is --by {protocol.by} right?)"
        )
    return f"nothing can be tested: all testable events are in the warm-up (the first {protocol.warmup:.0%})"


def _notes(time: NDArray[np.float64], visitor: Ints, item: Ints, kind: Ints) -> list[str]:
    """Sentences about order, repeated rows, and streams of one visitor or one item."""
    notes = []
    if backwards := int((np.diff(time) < 0).sum()):
        notes.append(f"{backwards} of {len(time)} rows are older than the row before them; taken in file order")
    same = (np.diff(time) == 0) & (np.diff(visitor) == 0) & (np.diff(item) == 0) & (np.diff(kind) == 0)
    if copies := int(same.sum()):
        notes.append(f"{copies} rows repeat the row before them; each was taken as an event of its own")
    if len(np.unique(visitor)) == 1:
        notes.append("there is one visitor: nothing is learned from others, and no error bar covers other visitors")
    if len(np.unique(item)) == 1:
        notes.append("there is one item: every list that has it is right")
    return notes
