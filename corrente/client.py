"""Client for programs without an event loop.

This file decides how calls are sent from the caller's thread, and queued events from a thread of their own. Both are
decided for event loops by `corrente.async_client`.
"""

from __future__ import annotations

import atexit
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self, TypeVar

import httpx

from corrente.answers import Accepted
from corrente.calls.call import Call
from corrente.errors import CorrenteError
from corrente.event_queue import Delivery, EventQueue
from corrente.events import Event
from corrente.exchange import Text
from corrente.queueing import QueueingClient, as_list, together
from corrente.retries import Retries
from corrente.routes import SyncRoutes

T = TypeVar("T")

TIMEOUT_SECONDS = 5.0
"""Longest time of one attempt, unless an own `httpx` client says otherwise."""


class Client(QueueingClient, SyncRoutes):
    """A client of one server. It may be used by several threads.

    Args:
        address: of the server; it may have a path.
        key: as `corrente keys create` prints it, or a function that gives the present one; empty for a server without.
        token: token of a visitor, beside a public key (`visitor_token`).
        origin: of the web page for which a public key acts.
        retries: attempts and waits of a call that fails.
        queue_events: events that may wait; one for which there is no room is dropped.
        batch_events: most events of one request.
        batch_seconds: longest time that an event waits for others.
        names: our name of an event's field to the one that the server reads (`CORRENTE_FIELDS`).
        http: a client of httpx with its own certificates, proxies and time limits. It is not closed here.
        clock: seconds since the epoch.
        sleep: waits so many seconds between the attempts of a call.

    >>> from corrente import Client, Click
    >>> with Client(address) as shop:
    ...     shop.recommendations("bob", n=2).item_ids
    ...     shop.send(Click("teapot", user="bob")).accepted
    ...     shop.enqueue(Click("cups", user="bob"))
    ['cups', 'tea']
    1
    True
    >>> shop.dropped
    0
    """

    def __init__(
        self,
        address: str = "http://localhost:8080",
        *,
        key: Text = "",
        token: Text = "",
        origin: str = "",
        retries: Retries = Retries(),
        queue_events: int = 10_000,
        batch_events: int = 500,
        batch_seconds: float = 0.2,
        names: Mapping[str, str] | None = None,
        http: httpx.Client | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            address,
            key=key,
            token=token,
            origin=origin,
            retries=retries,
            queue_events=queue_events,
            batch_events=batch_events,
            batch_seconds=batch_seconds,
            names=names,
            clock=clock,
        )
        self._own_http = http is None
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS) if http is None else http
        self._sleep = sleep
        self._changed = threading.Condition()
        self._given_up = threading.Event()
        self._flushing = 0
        self._busy = False
        self._thread: threading.Thread | None = None
        self._process = os.getpid()

    # ---- calls

    def call(self, call: Call[T]) -> T:
        """Send a call, again if that may help, and return its answer.

        Raises:
            Refused: the server refuses; the class says how.
            Unreachable: the server doesn't answer.
            UnexpectedAnswer: no Corrente answers so.
        """
        waited = 0.0
        for attempt in itertools.count():
            try:
                return self._attempt(call)
            except CorrenteError as error:
                wait = self._retries.next_wait(attempt, waited, error, repeatable=call.repeatable)
                if wait is None:
                    raise
            self._sleep(wait)
            waited += wait
        raise AssertionError  # `count` has no end

    def send(self, events: Event | Iterable[Event]) -> Accepted:
        """Send events and return when Kafka has them.

        If it raises, send the same objects again: those that arrived count once.

        Raises:
            Refused: as `call`; `index` is the number of the wrong event in its body.
            Unreachable: as `call`.
        """
        given = as_list(events)
        return together(given, map(self.call, self._posts(given)))

    def _attempt(self, call: Call[T]) -> T:
        try:
            response = self._http.request(**self._exchange.request(call))
        except httpx.HTTPError as error:
            raise self._exchange.failure(call, error) from error
        return self._exchange.answer(call, response)

    # ---- queued events

    def enqueue(self, event: Event) -> bool:
        """Put an event into the queue, and return at once. A thread sends it, with others.

        Returns:
            False if the event is dropped, because the queue is full or the client is closed. `dropped` counts it.
        """
        event = self._with_time(event)
        if self._process != os.getpid():
            self._after_fork()
        with self._changed:
            if not self._offer(event):
                return False
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_queued, name="corrente events", daemon=True)
                self._thread.start()
                atexit.register(self.close)
            elif len(self._queue) in {1, self._queue.batch}:
                self._changed.notify_all()
        return True

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until all events of the queue are sent or dropped; False if that takes longer."""
        with self._changed:
            self._flushing += 1
            self._changed.notify_all()
            try:
                return self._changed.wait_for(lambda: not self._queue and not self._busy, seconds)
            finally:
                self._flushing -= 1

    def close(self, seconds: float = 5.0) -> None:
        """Send the events of the queue, for at most so long, and end. Those that are left are dropped and counted."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            thread, self._thread = self._thread, None
        if thread is not None and self._process == os.getpid():
            atexit.unregister(self.close)
            thread.join(seconds)
            self._given_up.set()
            thread.join(TIMEOUT_SECONDS)
        if self._own_http:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send_queued(self) -> None:
        """Send batches until the client is closed and the queue is empty, or the wait for that is over."""
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._queue or self._closing)
                self._changed.wait_for(
                    lambda: len(self._queue) >= self._queue.batch or self._closing or self._flushing,
                    self._batch_seconds,
                )
                if self._given_up.is_set():
                    self._queue.drop_all()
                if not self._queue and self._closing:
                    return
                events = self._queue.take()
                self._busy = True
            self._deliver(Delivery(events, self._queue, self._retries))

    def _deliver(self, delivery: Delivery) -> None:
        while delivery.bodies:
            topic, body = delivery.bodies[0]
            try:
                self._attempt(self._post(topic, body))
            except CorrenteError as error:
                wait = delivery.failed(error)
            except Exception as error:  # a key or an event of the caller's own making: the thread goes on with others
                wait = delivery.failed(CorrenteError(repr(error)))
            else:
                delivery.sent()
                continue
            if self._given_up.wait(wait):
                delivery.give_up()

    def _after_fork(self) -> None:
        """Begin with an empty queue in a child process: the parent sends what was in it."""
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._given_up = threading.Event()
        self._queue = EventQueue(self._queue.most, self._queue.batch)
        self._thread, self._busy, self._flushing = None, False, 0
        if self._own_http:
            self._http = httpx.Client(timeout=TIMEOUT_SECONDS)
