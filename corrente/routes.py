"""Methods of both clients: one for each route.

A route is written once, as a function that makes a `Call`. On a `Client` the method sends it and returns the answer; on
an `AsyncClient` it returns an awaitable of the answer. Type checkers see both with the parameters of the function.

This file decides the names of these methods.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from corrente import calls

P = ParamSpec("P")
T = TypeVar("T")


class Route(Generic[P, T]):
    """A method that sends the call which a function makes.

    Args:
        make: gets the arguments of the method.
    """

    def __init__(self, make: Callable[P, calls.Call[T]]) -> None:
        self.make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: None, owner: Any = None) -> Route[P, T]: ...
    @overload
    def __get__(self, client: SyncRoutes, owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncRoutes, owner: Any = None) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, client: Any, owner: Any = None) -> Any:
        if client is None:
            return self

        @functools.wraps(self.make)
        def send(*args: P.args, **options: P.kwargs) -> Any:
            return client.call(self.make(*args, **options))

        return send


class Routes:
    """Every route of the API but those of events, which `send` and `enqueue` have."""

    recommendations = Route(calls.recommendations)
    recommendations_for = Route(calls.recommendations_for)
    recommendations_for_many = Route(calls.recommendations_for_many)
    rerank = Route(calls.rerank)
    recently_viewed = Route(calls.recently_viewed)
    new_arrivals = Route(calls.new_arrivals)
    similar = Route(calls.similar)
    popular = Route(calls.popular)
    trending = Route(calls.trending)

    put_items = Route(calls.put_items)
    items = Route(calls.items)
    put_item = Route(calls.put_item)
    patch_item = Route(calls.patch_item)
    item = Route(calls.item)
    delete_item = Route(calls.delete_item)

    users = Route(calls.users)
    put_user = Route(calls.put_user)
    patch_user = Route(calls.patch_user)
    user = Route(calls.user)
    delete_user = Route(calls.delete_user)

    versions = Route(calls.versions)
    version = Route(calls.version)
    diff = Route(calls.diff)
    roll_back = Route(calls.roll_back)
    follow_newest = Route(calls.follow_newest)

    transparency = Route(calls.transparency)
    transparency_page = Route(calls.transparency_page)
    live = Route(calls.live)
    ready = Route(calls.ready)
    metrics = Route(calls.metrics)


class SyncRoutes(Routes):
    """Methods that return the answer. Their class has `call`, which sends a call and returns its answer."""


class AsyncRoutes(Routes):
    """Methods that return an awaitable of the answer, as `call` of their class does."""
