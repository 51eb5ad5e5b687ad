"""The batch that is learned next, decoded while the one before it is learned.

A batch may have to wait: for dead letters that Kafka hasn't acknowledged, or for schemas that the registry has to be
asked for. Records whose schemas are missing go back to the merge's portions, and nothing is learned before them. Until
the registry has answered, the shard publishes what it has learned, and stands still if the registry can't be used.

Visitors who refuse profiling are found in the catalogue that the worker follows. Their events are counted only, and the
batch carries the decision, so that the journal has it.

This file decides when the next batch is decoded, and how often a registry that can't be used is asked again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from structlog import get_logger

from stream.health.failures import REPORT
from stream.health.progress import Progress
from stream.ingest.counted import NOBODY, Counted, keys_of
from stream.ingest.records import Place, Record
from stream.ingest.schemas.known import SchemasMissing
from stream.registry.errors import RegistryUnusable
from stream.runner.open_shard import OpenShard
from stream.runner.publisher import Publisher
from stream.runner.resources import WorkerResources
from stream.shard.isolation import Isolation
from stream.shard.shard import Batch, Shard

log = get_logger(__name__)

Result = TypeVar("Result")

MAX_UNSENT_LETTERS = 50_000
"""Dead letters that may wait for Kafka's acknowledgement, before learning waits for them."""

ASK_AGAIN_SECONDS = (1.0, 10.0)
"""First and longest pause before a registry that can't be used is asked again."""


class NextBatch:
    """Decodes the next batch of one shard.

    Args:
        resources: everything that the shards of this worker share.
        publisher: of the shard.
        progress: of the shard.
        wake: lets the runner look again.
    """

    def __init__(
        self, resources: WorkerResources, publisher: Publisher, progress: Progress, wake: Callable[[], None]
    ) -> None:
        self._resources = resources
        self._publisher = publisher
        self._progress = progress
        self._wake = wake
        self._finding: asyncio.Task[None] | None = None
        self._rules: tuple[str, int] | None = None
        self._counted = NOBODY

    def decode(self, opened: OpenShard, isolation: Isolation) -> asyncio.Future[tuple[Batch, float]] | None:
        """The next batch while it is decoded, with the CPU seconds of that; None if there is nothing to learn now.

        A caller that loses it has to open the shard anew: the merge gives each record once. If it raises
        `SchemasMissing`, the caller has to pass that to `find_schemas`.
        """
        if self.waits():
            return None
        records = opened.take_records(self._resources.max_unpublished_records, isolation)
        if not records:
            return None
        isolated = isolation.isolated_among(records)
        decoding = asyncio.get_running_loop().run_in_executor(
            self._resources.decoding, timed, self._decode, opened.shard, records, isolated
        )
        decoding.add_done_callback(_note_error)
        return decoding

    def _decode(self, shard: Shard, records: Sequence[Record], isolated: Mapping[Place, str]) -> Batch:
        """Decode a batch by what the visitors say now. Called in the thread for decoding alone."""
        catalogue, salt = self._resources.catalogue, self._resources.settings.model.visitor_salt
        if catalogue is not None and (found := catalogue.unprofiled(self._rules)) is not None:
            self._rules, users = found
            self._counted = Counted(keys_of(users, salt))
        return shard.decode(records, isolated, self._counted)

    def waits(self) -> bool:
        """Return True if learning has to wait, although there may be records; says so if something is in the way."""
        if self._finding is not None:
            if not self._finding.done():
                return True
            self._finding = None
        trouble = self._resources.dead_letters.trouble
        if trouble is not None and self._publisher.unsent_letters:
            self._progress.stop("dead letters", trouble.reason, trouble.command)
            return True
        return self._publisher.unsent_letters >= MAX_UNSENT_LETTERS

    def find_schemas(self, opened: OpenShard, missing: SchemasMissing) -> None:
        """Give the records of a batch back, and look for their schemas; nothing is decoded until they are found."""
        opened.put_back(missing.records)
        self.cancel()
        self._finding = asyncio.create_task(self._find(missing))
        self._finding.add_done_callback(lambda _: self._wake())

    async def _find(self, missing: SchemasMissing) -> None:
        schemas = self._resources.schemas
        assert schemas is not None
        pause, longest = ASK_AGAIN_SECONDS
        while True:
            try:
                return await schemas.look_up(missing.references)
            except RegistryUnusable as error:
                self._progress.stop("schema registry", str(error), error.mend)
            except Exception as error:  # whatever it is, the records wait, and the shard says why
                log.exception("looking schemas up failed")
                self._progress.stop("schema registry", f"{type(error).__name__}: {error}", REPORT)
            await self._resources.clock.sleep(pause)
            pause = min(2 * pause, longest)

    def cancel(self) -> None:
        """Look for no more schemas."""
        if self._finding is not None:
            self._finding.cancel()
            self._finding = None


def _note_error(decoding: asyncio.Future[Any]) -> None:
    """Mark the error of a batch as seen: a runner that is halted needs no batch any more."""
    if not decoding.cancelled():
        decoding.exception()


def timed(function: Callable[..., Result], *arguments: Any) -> tuple[Result, float]:
    """The result of a function, and the CPU seconds that it took."""
    started = time.thread_time()
    return function(*arguments), time.thread_time() - started
