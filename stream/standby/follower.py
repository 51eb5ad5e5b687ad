"""The newest state of a model's shard in memory, while another worker learns it.

A worker that takes the shard over gets the tables with the state that they hold, and reads the changes since then: some
blocks instead of all of them. Tables with which anything was wrong are given up, and the next look loads them anew.

A standby follows models of one shard. With several it can't know which of them will be its own, and all of them
together may take more memory than any worker has.

This file decides which states are followed, and in which steps tables go from one state to the next.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.exceptions import RedisError
from structlog import get_logger

from stream.models.settings import ModelSettings
from stream.standby.pace import LONGEST_SECONDS, SHORTEST_SECONDS, pause_seconds
from stream.state.table_writer import TableWriter
from stream.state.tables import CorruptDelta, Tables
from stream.versions import ShardState, VersionError, VersionStore
from stream.versions.changed_settings.layouts import tables_for

log = get_logger(__name__)

KEPT_SECONDS = 60.0
"""Time for which the state is kept after this worker got a shard: longer than it takes to claim it."""


@dataclass(frozen=True)
class WarmState:
    """Tables and the state that they hold."""

    tables: Tables
    state: ShardState


class Follower:
    """Follows the only shard of a model. Its methods may be called from several threads; they take turns.

    Args:
        store: of the versions.
        settings: of the model. Tables have the capacities of the versions; a worker that takes them over may go on with
            larger ones.
    """

    def __init__(self, store: VersionStore, settings: ModelSettings) -> None:
        self._store = store
        self._settings = settings
        self._turn = threading.Lock()
        self._warm: WarmState | None = None
        self._has_loaded = False

    @property
    def state(self) -> ShardState | None:
        """The state that is in memory."""
        return self._warm.state if self._warm is not None else None

    def look(self) -> float:
        """Bring the tables to the newest state of the model, if it has one shard.

        Returns:
            Seconds until the next look.

        Raises:
            RedisError: Redis can't be reached.
            VersionError: the newest state can't be read.
            CorruptDelta: it doesn't fit the capacities that it says it has.
        """
        with self._turn:
            started, warm = time.process_time(), self._warm
            newest = self._store.latest()
            if newest is None or list(newest.shards) != [0]:
                return pause_seconds(time.process_time() - started)
            state = newest.shards[0]
            changes = self._store.changes(0, warm.state, state) if warm is not None else None
            self._warm = None  # until the tables hold a whole state again
            if warm is not None and changes is not None:
                warm.tables.write(changes)
                self._warm = WarmState(warm.tables, state)
            else:
                tables = tables_for(self._store, self._settings, newest, 0, state)
                self._store.load(0, state, TableWriter(tables))
                self._warm = WarmState(tables, state)
            first, self._has_loaded = not self._has_loaded, True
            return pause_seconds(time.process_time() - started, first=first)

    def take(self, shard: int, head: ShardState) -> tuple[Tables, Mapping[str, Any]] | None:
        """Tables with this state, and its readable part, for a worker that has claimed the shard; they are its own.

        Returns:
            None if there is nothing from which the state could be reached by changes alone.

        Raises:
            RedisError: Redis can't be reached.
            VersionError: the state can't be read.
        """
        with self._turn:
            warm, self._warm, self._has_loaded = self._warm, None, False
            if warm is None or shard != 0:
                return None
            changes = self._store.changes(shard, warm.state, head)
            if changes is None:
                return None
            try:
                warm.tables.write(changes)
            except CorruptDelta:  # loading the whole state says so
                return None
            return warm.tables, self._store.state(shard, head)

    def drop(self) -> None:
        """Give the tables up."""
        with self._turn:
            self._warm, self._has_loaded = None, False


async def follow(
    follower: Follower,
    standing_by: Callable[[], bool],
    in_thread: Callable[[Callable[[], float]], Awaitable[float]],
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Look again and again while this worker stands by, until cancelled.

    Args:
        follower: gets the looks.
        standing_by: False while this worker has shards of its own; nothing is followed then.
        in_thread: runs a look off the event loop.
        sleep: waits.
    """
    kept_seconds = 0.0
    while True:
        if not standing_by():
            kept_seconds += SHORTEST_SECONDS
            if kept_seconds > KEPT_SECONDS:
                follower.drop()
            await sleep(SHORTEST_SECONDS)
            continue
        kept_seconds, pause = 0.0, LONGEST_SECONDS
        try:
            pause = await in_thread(follower.look)
        except RedisError as error:
            log.debug("could not follow the versions", error=str(error) or repr(error))
            pause = SHORTEST_SECONDS
        except (VersionError, CorruptDelta) as error:
            log.debug("could not follow the versions", error=str(error) or repr(error))
        await sleep(pause)
