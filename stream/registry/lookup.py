"""Looking schemas up: in threads of their own, several at once, each once for all shards of a worker.

A schema that the registry doesn't have is asked for a second time before its records become dead letters, because a
registry of several nodes may know it on one of them first. It is then taken as unknown for a while.

This file decides when schemas are looked up again, and what is remembered of those that aren't there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from structlog import get_logger

from stream.configuration.errors import WrongSetting
from stream.ingest.schemas.avro import OwnSchemas
from stream.ingest.schemas.fetched import AVRO, FORMATS, FetchedSchema, UnusableSchema
from stream.ingest.schemas.known import KnownSchemas
from stream.ingest.schemas.readers import make_reader, missing_library
from stream.ingest.schemas.wire import describe
from stream.registry.client import RegistryClient
from stream.registry.errors import NotRegistered, RegistryUnusable
from stream.registry_settings import RegistrySettings

log = get_logger(__name__)

CONFIRM_SECONDS = 1.0
"""Pause before a schema that the registry doesn't have is asked for once more."""

UNKNOWN_SECONDS = 60.0
"""Time for which a schema is then taken as unknown."""


class SchemaLookup:
    """The schemas of one worker, and the registry that they come from.

    Args:
        settings: of the registry.

    Attributes:
        known: the schemas that are found, for decoders.

    Raises:
        WrongSetting: a certificate, a key or an Avro schema of one's own can't be used.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self.known = KnownSchemas(settings.schema_registry_max_schemas)
        self._formats = formats_of(settings)
        self._own = own_schemas(settings)
        self._client = RegistryClient(settings)
        self._threads = ThreadPoolExecutor(4, "schemas")
        self._later: set[asyncio.TimerHandle] = set()

    async def look_up(self, references: Collection[bytes]) -> None:
        """Find schemas, or a reason for each why its records can't be learned.

        Args:
            references: the beginning of a record for each.

        Raises:
            RegistryUnusable: the registry can't be asked. Schemas that were found before stay known.
        """
        self.known.make_room(references)
        absent = await self._ask(references)
        if not absent:
            return
        await asyncio.sleep(CONFIRM_SECONDS)
        for reference in await self._ask(absent):
            self.known.note_problem(reference, "the registry has no such schema")
            log.warning(
                "the schema registry does not have a schema; its records are dead letters", schema=describe(reference)
            )
            self._forget_later(reference)

    async def _ask(self, references: Collection[bytes]) -> list[bytes]:
        """Fetch schemas; return those that the registry doesn't have."""
        loop = asyncio.get_running_loop()
        order = list(references)
        found = await asyncio.gather(
            *(loop.run_in_executor(self._threads, self._find, each) for each in order), return_exceptions=True
        )
        for each in found:
            if isinstance(each, BaseException):
                raise each
        return [reference for reference, there in zip(order, found, strict=True) if not there]

    def _find(self, reference: bytes) -> bool:
        """Fetch a schema and make its reader; False if the registry doesn't have it."""
        try:
            schema = self._client.fetch(reference)
        except NotRegistered:
            return False
        except UnusableSchema as error:
            self._note_unusable(reference, error)
            return True
        self._check_format(reference, schema)
        try:
            self.known.note_reader(reference, make_reader(schema, self._own))
            log.info("a schema is found", schema=describe(reference), format=schema.format)
        except UnusableSchema as error:
            self._note_unusable(reference, error)
        return True

    def _check_format(self, reference: bytes, schema: FetchedSchema) -> None:
        """Raises `RegistryUnusable` if a format is left out that could be read."""
        name = next((name for name, each in FORMATS.items() if each == schema.format), None)
        if name is None or name in self._formats:
            return
        what = f"the schema with {describe(reference)} is {schema.format}"
        if (install := missing_library(schema.format)) is not None:
            raise RegistryUnusable(
                f"{what}, and its library is not installed", f"{install}, and start the worker again"
            )
        raise RegistryUnusable(
            f"{what}, and CORRENTE_SCHEMA_FORMATS leaves it out",
            f"add {name!r} to CORRENTE_SCHEMA_FORMATS, and start the worker again",
        )

    def _note_unusable(self, reference: bytes, error: UnusableSchema) -> None:
        self.known.note_problem(reference, str(error))
        log.warning(
            "a schema can't be used; its records are dead letters", schema=describe(reference), reason=str(error)
        )

    def _forget_later(self, reference: bytes) -> None:
        """Ask for an unknown schema again when its records come after a while."""

        def forget() -> None:
            self._later.discard(handle)
            self.known.forget(reference)

        handle = asyncio.get_running_loop().call_later(UNKNOWN_SECONDS, forget)
        self._later.add(handle)

    def close(self) -> None:
        """End the threads, without waiting for the registry."""
        for handle in self._later:
            handle.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()


def formats_of(settings: RegistrySettings) -> list[str]:
    """The formats that are read, by their names in settings.

    Raises:
        WrongSetting: the settings name a format whose library is not installed.
    """
    for name in settings.schema_formats:
        if (install := missing_library(FORMATS[name])) is not None:
            raise WrongSetting(
                f"CORRENTE_SCHEMA_FORMATS names {name}, and its library is not installed: {install}, or leave the "
                "format out"
            )
    return settings.schema_formats or [name for name, each in FORMATS.items() if missing_library(each) is None]


def own_schemas(settings: RegistrySettings) -> OwnSchemas:
    """The Avro schemas of one's own, by which records are read.

    Raises:
        WrongSetting: a file has none, or fastavro is not installed.
    """
    if not settings.avro_schemas:
        return OwnSchemas()
    if (install := missing_library(AVRO)) is not None:
        raise WrongSetting(f"CORRENTE_AVRO_SCHEMAS needs the library of Avro: {install}")
    own = OwnSchemas()
    for path in settings.avro_schemas:
        try:
            own.add(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, UnusableSchema) as error:
            raise WrongSetting(f"CORRENTE_AVRO_SCHEMAS: {path}: {error}") from None
    return own


def schema_lookup(settings: RegistrySettings) -> SchemaLookup | None:
    """The schemas of a worker; None if the settings name no registry.

    Raises:
        WrongSetting: the library of a format is not installed, or a file that the settings name can't be used.
    """
    if not settings.schema_registry:
        return None
    return SchemaLookup(settings)
