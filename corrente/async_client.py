"""Client for programs with an event loop.

This file decides how calls are sent from coroutines, and queued events from a task. Both are decided for programs
without an event loop by `corrente.client`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import TracebackType
from typing import Self, TypeVar

import httpx

from corrente.answers import Accepted
from corrente.calls.call import Call
from corrente.client import TIMEOUT_SECONDS
from corrente.errors import CorrenteError
from corrente.event_queue import Delivery
from corrente.events import Event
from corrente.exchange import Text
from corrente.queueing import QueueingClient, as_list, together
from corrente.retries import Retries
from corrente.routes import AsyncRoutes

T = TypeVar("T")


class AsyncClient(QueueingClient, AsyncRoutes):
    """A client of one server, for one event loop. Its methods are those of `Client`, and are awaited.

    Args:
        address, key, token, origin, retries, queue_events, batch_events, batch_seconds, names, clock: as for `Client`.
        http: an asynchronous client of httpx with its own certificates, proxies and time limits. It is not closed here.
        sleep: waits so many seconds between the attempts of a call.

    >>> import asyncio
    >>> from corrente import AsyncClient, Click
    >>> async def page():
    ...     async with AsyncClient(address) as shop:
    ...         shop.enqueue(Click("teapot", user="bob"))  # returns at once, so it isn't awaited
    ...         return await shop.recommendations("bob", n=2)
    >>> asyncio.run(page()).item_ids
    ['cups', 'tea']
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
        http: httpx.AsyncClient | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
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
        self._http = httpx.AsyncClient(timeout=TIMEOUT_SECONDS) if http is None else http
        self._sleep = sleep
        self._hurry = asyncio.Event()
        self._came = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    # ---- calls

    async def call(self, call: Call[T]) -> T:
        """Send a call, again if that may help, and return its answer.

        Raises:
            Refused: the server refuses; the class says how.
            Unreachable: the server doesn't answer.
            UnexpectedAnswer: no Corrente answers so.
        """
        waited = 0.0
        for attempt in itertools.count():
            try:
                return await self._attempt(call)
            except CorrenteError as error:
                wait = self._retries.next_wait(attempt, waited, error, repeatable=call.repeatable)
                if wait is None:
                    raise
            await self._sleep(wait)
            waited += wait
        raise AssertionError  # `count` has no end

    async def send(self, events: Event | Iterable[Event]) -> Accepted:
        """Send events and return when Kafka has them; as `Client.send`."""
        given = as_list(events)
        return together(given, [await self.call(post) for post in self._posts(given)])

    async def _attempt(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(**self._exchange.request(call))
        except httpx.HTTPError as error:
            raise self._exchange.failure(call, error) from error
        return self._exchange.answer(call, response)

    # ---- queued events

    def enqueue(self, event: Event) -> bool:
        """Put an event into the queue, and return at once. A task sends it, with others. It is not awaited.

        Returns:
            False if the event is dropped, because the queue is full or the client is closed. `dropped` counts it.
        """
        if not self._offer(self._with_time(event)):
            return False
        self._idle.clear()
        self._came.set()
        if len(self._queue) >= self._queue.batch:
            self._hurry.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._send_queued(), name="corrente events")
        return True

    async def flush(self, seconds: float = 5.0) -> bool:
        """Wait until all events of the queue are sent or dropped; False if that takes longer."""
        self._hurry.set()
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, seconds: float = 5.0) -> None:
        """Send the events of the queue, for at most so long, and end. Those that are left are dropped and counted."""
        self._closing = True
        if self._task is not None:
            await self.flush(seconds)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._own_http:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _send_queued(self) -> None:
        try:
            while True:
                await self._came.wait()
                if len(self._queue) < self._queue.batch:
                    await self._wait_for_others()
                await self._deliver(Delivery(self._queue.take(), self._queue, self._retries))
                if not self._queue:
                    self._came.clear()
                    self._hurry.clear()
                    self._idle.set()
        finally:
            self._queue.drop_all()

    async def _wait_for_others(self) -> None:
        try:
            async with asyncio.timeout(self._batch_seconds):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            while delivery.bodies:
                topic, body = delivery.bodies[0]
                try:
                    await self._attempt(self._post(topic, body))
                except CorrenteError as error:
                    wait = delivery.failed(error)
                except Exception as error:  # a key or an event of the caller's own making: the task goes on
                    wait = delivery.failed(CorrenteError(repr(error)))
                else:
                    delivery.sent()
                    continue
                await asyncio.sleep(wait)
        finally:
            delivery.give_up()
