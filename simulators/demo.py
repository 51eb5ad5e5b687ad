"""`corrente demo`: a shop that learns while it is watched.

This file decides the story and its measurements. The story, in shares of the given time: the shop opens and the model
learns from nothing; at 0.2 a newcomer looks at a few items and gets a list of their own; at 0.5 an older version is
rolled back to, and at 0.57 the newest is followed again; at 0.62 a new season begins: half of all items go together
with others than before, and the model has to unlearn.

The hit rate is measured from outside: before a shopper's next click is sent, their list of ten is requested from the
server, and the list of popular items. A click on an item of the list is a hit. Nothing is measured while an older
version is pinned, nor in the first tenth, when nothing can be known.

The shoppers' behaviour is decided in `simulators.shoppers`, the wiring of the parts in `simulators.system`, and the
display in `simulators.demo_view`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from simulators.client import Client, ItemList, by_topic
from simulators.shoppers import Shop, Step
from simulators.system import System, running_system, wait_until

EVENTS_PER_SECOND = 240
TICK_SECONDS = 0.1
TESTS_PER_TICK = 3
MAX_BEHIND_EVENTS = 4_000
"""Events that may wait to be learned: the embedded broker forgets records beyond some megabytes."""
WINDOW_TESTS = 200
NEWCOMER_AT, ROLLBACK_AT, FOLLOW_AT, SEASON_AT = 0.2, 0.5, 0.57, 0.62
MEASURED_FROM = 0.1
REFERENCE_SECONDS = 4.0
"""Seconds before the rollback at which the version to roll back to is chosen."""
NEWCOMER_CLICKS = 4
SETTLE_SECONDS = 20.0
SETTINGS = {
    "CORRENTE_MODEL__MAX_ITEMS": "20000",
    "CORRENTE_MODEL__MAX_VISITORS": "100000",
    "CORRENTE_MODEL__MAX_SESSIONS": "100000",
}
"""Settings of the worker and the server: a small shop needs no tables for millions."""


@dataclass
class HitRate:
    """Hit rates of the model and of popularity on the same clicks: overall, and over the last `WINDOW_TESTS`."""

    tests: int = 0
    hits: int = 0
    popularity_hits: int = 0
    window: deque[tuple[bool, bool]] = field(default_factory=lambda: deque(maxlen=WINDOW_TESTS))

    def count(self, hit: bool, popularity_hit: bool) -> None:
        self.tests += 1
        self.hits += hit
        self.popularity_hits += popularity_hit
        self.window.append((hit, popularity_hit))

    @property
    def overall(self) -> tuple[float, float]:
        return (self.hits / self.tests, self.popularity_hits / self.tests) if self.tests else (0.0, 0.0)

    @property
    def recent(self) -> tuple[float, float]:
        seen = len(self.window)
        return (sum(m for m, _ in self.window) / seen, sum(p for _, p in self.window) / seen) if seen else (0.0, 0.0)


@dataclass
class Story:
    """State of a demo so far, for the view and for the summary."""

    seconds: float
    address: str = ""
    elapsed: float = 0.0
    events_sent: int = 0
    events_learned: int = 0
    events_per_second: float = 0.0
    version: int = 0
    serving: int | None = None
    drift_signals: int = 0
    hit_rate: HitRate = field(default_factory=HitRate)
    before: list[str] = field(default_factory=list)
    clicked: list[str] = field(default_factory=list)
    same_taste: frozenset[str] = frozenset()
    """All items that go together with those that the newcomer clicked."""
    after: list[str] = field(default_factory=list)
    after_milliseconds: float = 0.0
    pinned: int | None = None
    rollback_ok: bool = False
    finished: bool = False
    news: list[tuple[float, str]] = field(default_factory=list)
    marks: list[tuple[float, str]] = field(default_factory=list)
    """Moments to be marked below the curves, each with one or two words."""

    def add_news(self, text: str, mark: str) -> None:
        """Record an event of the story, to be shown on a line of its own and marked below the curves."""
        self.news.append((self.elapsed, text))
        self.marks.append((self.elapsed, mark))

    def summary(self) -> dict[str, Any]:
        """The JSON object that `--json` prints."""
        hit_rate, popularity_hit_rate = self.hit_rate.overall
        return {
            "events_sent": self.events_sent,
            "events_learned": self.events_learned,
            "events_per_second": round(self.events_per_second, 1),
            "versions": self.version,
            "hr_at_10": round(hit_rate, 4),
            "popularity_hr_at_10": round(popularity_hit_rate, 4),
            "tests": self.hit_rate.tests,
            "drift_signals": self.drift_signals,
            "rollback_ok": self.rollback_ok,
            "recommendations_before": self.before,
            "recommendations_sample": self.after,
            "seconds": round(self.elapsed, 1),
            "finished": self.finished,
        }


class View(Protocol):
    """A display of a story: the live view, or plain lines."""

    def starting(self, text: str) -> None: ...

    def show(self, story: Story) -> None: ...


def run(story: Story, port: int, view: View, seed: int) -> None:
    """Start the system, run the story and end everything. Results are in `story`, also after an interruption.

    Raises:
        NotInstalled, ChildEnded, NotStarted: the system did not come up or lost a part.
        KeyboardInterrupt: the user or a signal ended it.
    """
    with running_system(port, SETTINGS, view.starting) as system, Client(system.address) as client:
        story.address = system.address
        view.starting("waiting for the first version")
        # The first click is learned before the clock starts, so that loading the kernels is in no figure.
        story.events_sent += client.post("clicks", [{"item": "item-0000", "session": "opening"}])
        wait_until(lambda: client.recommend(user=None).items, system, "the first version")
        _Performance(story, system, client, view, Shop(seed, shoppers=500)).run()


class _Performance:
    """One run of the story: its acts happen in the order of their times, with shopping in between."""

    def __init__(self, story: Story, system: System, client: Client, view: View, shop: Shop) -> None:
        self._story, self._system, self._client, self._view, self._shop = story, system, client, view, shop
        self._began = time.monotonic()
        self._learned_at: deque[tuple[float, int]] = deque(maxlen=50)
        self._reference: tuple[str, ItemList] | None = None
        self._named: str | None = None
        reference_at = max(ROLLBACK_AT - REFERENCE_SECONDS / story.seconds, (NEWCOMER_AT + ROLLBACK_AT) / 2)
        self._acts = deque(
            [
                (NEWCOMER_AT, self._newcomer),
                (reference_at, self._remember_a_list),
                (ROLLBACK_AT, self._roll_back),
                (FOLLOW_AT, self._follow_newest),
                (SEASON_AT, self._new_season),
            ]
        )

    def run(self) -> None:
        story = self._story
        owed, last = 0.0, self._began
        while (now := self._now()) < story.seconds:
            while self._acts and story.elapsed >= self._acts[0][0] * story.seconds:
                self._acts.popleft()[1]()
            moment = time.monotonic()
            owed, last = min(owed + (moment - last) * EVENTS_PER_SECOND, EVENTS_PER_SECOND), moment
            if story.events_sent - story.events_learned < MAX_BEHIND_EVENTS:
                self._send_steps(int(owed))
                owed -= int(owed)
            self._update()
            time.sleep(max(0.0, TICK_SECONDS - (self._now() - now)))
        story.finished = not self._acts
        self._settle()

    def _now(self) -> float:
        self._story.elapsed = time.monotonic() - self._began
        return self._story.elapsed

    def _send_steps(self, count: int) -> None:
        steps = [self._shop.step() for _ in range(count)]
        if self._story.pinned is None and self._story.elapsed > MEASURED_FROM * self._story.seconds:
            self._test(steps)
        self._named = next((step.user for step in steps if step.user), self._named)
        events = [{name: value for name, value in step._asdict().items() if value is not None} for step in steps]
        self._send(events)

    def _send(self, events: Iterable[dict[str, Any]]) -> None:
        for topic, batch in by_topic(events).items():
            self._story.events_sent += self._client.post(topic, batch)

    def _test(self, steps: list[Step]) -> None:
        """Request the lists of some shoppers before their next clicks are sent, and count the hits."""
        popular = self._client.popular().items
        clicks = [step for step in steps if step.kind == "click"]
        for step in clicks[:TESTS_PER_TICK]:
            items = self._client.recommend(user=step.user, session=step.session).items
            self._story.hit_rate.count(step.item in items, step.item in popular)

    def _update(self) -> None:
        """Read from the newest version how far learning is, and show it."""
        self._system.check()
        newest = self._client.version("latest")
        if newest:
            story = self._story
            story.version, story.events_learned = newest["number"], newest["events"]
            story.serving = story.pinned or story.version
            story.drift_signals = drift_signals(newest)
            self._learned_at.append((story.elapsed, story.events_learned))
            (then, at_that_time), (now, at_this_time) = self._learned_at[0], self._learned_at[-1]
            if now > then:
                story.events_per_second = (at_this_time - at_that_time) / (now - then)
        self._view.show(self._story)

    def _newcomer(self) -> None:
        """Send a stranger's clicks on items that go together, and wait for the list that reflects them."""
        story, client = self._story, self._client
        story.before = client.recommend(user="newcomer", session="newcomer-visit").items
        taste = len(self._shop.tastes) - 1
        story.same_taste = frozenset(self._shop.tastes[taste])
        story.clicked = self._shop.path(taste, NEWCOMER_CLICKS)
        began = time.monotonic()
        self._send(
            [{"user": "newcomer", "session": "newcomer-visit", "item": item, "kind": "click"} for item in story.clicked]
        )
        known = story.events_sent

        def reflecting_list() -> ItemList | None:
            """The newcomer's list if it comes from a version that knows all of these clicks, else None."""
            answer = client.recommend(user="newcomer", session="newcomer-visit")
            version = client.version(answer.version) if answer.version is not None else None
            return answer if version and version["events"] >= known and answer.fallback is None else None

        answer: ItemList = wait_until(reflecting_list, self._system, "the newcomer's own list")
        story.after, story.after_milliseconds = answer.items, (time.monotonic() - began) * 1000
        story.add_news(
            f"a newcomer clicked {NEWCOMER_CLICKS} items: their own list {story.after_milliseconds:.0f} ms later",
            "newcomer",
        )

    def _remember_a_list(self) -> None:
        """Keep a known shopper's list, for comparison with the list after the rollback."""
        if self._named:
            self._reference = self._named, self._client.recommend(user=self._named)

    def _roll_back(self) -> None:
        if self._reference is None:
            return
        story, (name, then) = self._story, self._reference
        if then.version is None:
            return
        now = self._client.recommend(user=name)
        self._client.roll_back(then.version, "the demo shows it")
        again = self._client.recommend(user=name)
        story.pinned = again.version
        story.rollback_ok = again == then
        story.add_news(
            f"rolled back from version {now.version} to {then.version}: "
            + ("the very same list and scores as then" if again == then else "NOT the list of that version"),
            "rollback",
        )

    def _follow_newest(self) -> None:
        story, pinned = self._story, self._story.pinned
        if pinned is None or self._reference is None:
            return
        self._client.follow_newest()
        story.pinned = None
        newest = self._client.recommend(user=self._reference[0]).version
        ahead = newest is not None and newest > pinned
        story.rollback_ok = story.rollback_ok and ahead
        story.add_news(
            f"following the newest again: version {newest}; learning went on meanwhile"
            if ahead
            else f"following the newest again, but version {newest} is none that came after {pinned}",
            "",
        )

    def _new_season(self) -> None:
        self._shop.next_season()
        self._story.add_news("a new season: half of the items go together with others than before", "new season")

    def _settle(self) -> None:
        """Wait until the worker has learned every event that was sent, at most `SETTLE_SECONDS`."""
        story = self._story
        deadline = time.monotonic() + SETTLE_SECONDS
        while story.events_learned < story.events_sent and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)
            self._update()


def drift_signals(manifest: dict[str, Any]) -> int:
    """Number of changes that the drift detectors of all shards have reported in a version's manifest."""
    return sum(
        signal.get("drifts", 0)
        for shard in manifest["drift"].values()
        for signal in shard.values()
        if isinstance(signal, dict)
    )
