"""Methods of both clients: one for each route.

A route is written once, as a function that makes a `Call`. On a `Client` the method sends it and returns the answer; on
an `AsyncClient` it returns an awaitable of the answer. Type checkers see both with the parameters of the function.

This file decides the names of these methods.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from corrente.calls import catalogue, lists, operations
from corrente.calls.call import Call

P = ParamSpec("P")
T = TypeVar("T")


class Route(Generic[P, T]):
    """A method that sends the call which a function makes.

    Args:
        make: gets the arguments of the method.
    """

    def __init__(self, make: Callable[P, Call[T]]) -> None:
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

    recommendations = Route(lists.recommendations)
    recommendations_for = Route(lists.recommendations_for)
    recommendations_for_many = Route(lists.recommendations_for_many)
    rerank = Route(lists.rerank)
    recently_viewed = Route(lists.recently_viewed)
    new_arrivals = Route(lists.new_arrivals)
    similar = Route(lists.similar)
    bought_together = Route(lists.bought_together)
    popular = Route(lists.popular)
    trending = Route(lists.trending)

    put_items = Route(catalogue.put_items)
    items = Route(catalogue.items)
    put_item = Route(catalogue.put_item)
    patch_item = Route(catalogue.patch_item)
    item = Route(catalogue.item)
    delete_item = Route(catalogue.delete_item)

    users = Route(catalogue.users)
    put_user = Route(catalogue.put_user)
    patch_user = Route(catalogue.patch_user)
    user = Route(catalogue.user)
    delete_user = Route(catalogue.delete_user)

    versions = Route(operations.versions)
    version = Route(operations.version)
    diff = Route(operations.diff)
    roll_back = Route(operations.roll_back)
    follow_newest = Route(operations.follow_newest)

    transparency = Route(operations.transparency)
    transparency_page = Route(operations.transparency_page)
    live = Route(operations.live)
    ready = Route(operations.ready)
    metrics = Route(operations.metrics)


class SyncRoutes(Routes):
    """Methods that return the answer. Their class has `call`, which sends a call and returns its answer."""


class AsyncRoutes(Routes):
    """Methods that return an awaitable of the answer, as `call` of their class does."""
