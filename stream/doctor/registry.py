"""Checks of the schema registry: reachable, rights, and a schema of each topic that can be read.

This file decides which schemas are asked for: the newest of the subject that Confluent's serializers use by default,
the topic's name with `-value`. Without a registry in the settings nothing is checked.
"""

from __future__ import annotations

from stream.configuration.errors import WrongSetting
from stream.doctor.findings import Finding, error, note, ok
from stream.ingest.schemas.fetched import FORMATS, UnusableSchema
from stream.ingest.schemas.readers import make_reader, missing_library
from stream.registry.client import RegistryClient
from stream.registry.errors import NotRegistered, RegistryUnusable
from stream.registry.lookup import formats_of, own_schemas
from stream.settings import Settings


def check_registry(settings: Settings) -> list[Finding]:
    """Every check of the registry; only one finding if it can't be used."""
    if not settings.schema_registry:
        return []
    try:
        formats, own = [FORMATS[name] for name in formats_of(settings)], own_schemas(settings)
        client = RegistryClient(settings)
    except WrongSetting as wrong:
        return [error("registry.settings", str(wrong), "correct this setting, or install the library")]
    schemas: list[Finding] = []
    try:
        for topic in settings.topics.values():
            subject = f"{topic}-value"
            try:
                schema = client.newest_of(subject)
                if schema.format not in formats and schema.format in FORMATS.values():
                    mend = missing_library(schema.format) or "add it to CORRENTE_SCHEMA_FORMATS"
                    schemas.append(error("registry.schemas", f"{subject} is {schema.format}, which is left out", mend))
                    continue
                make_reader(schema, own)
                schemas.append(
                    ok("registry.schemas", f"the newest schema of {subject} is {schema.format}, and is read")
                )
            except NotRegistered:
                why = (
                    f"there is no subject {subject}: the topic has plain JSON, or its producers name subjects otherwise"
                )
                schemas.append(note("registry.schemas", why))
            except UnusableSchema as unusable:
                mend = "register a schema that can be used; records of this one become dead letters"
                schemas.append(error("registry.schemas", f"{subject}: {unusable}", mend))
    except RegistryUnusable as failed:
        return [error("registry.rights" if failed.refused else "registry.reachable", str(failed), failed.mend)]
    finally:
        client.close()
    return [ok("registry.reachable", f"the schema registry {settings.schema_registry} answers"), *schemas]
