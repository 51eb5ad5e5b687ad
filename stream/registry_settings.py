"""Settings of a schema registry: its address, who asks it, and what is kept of it.

This file decides their names, defaults and limits, and which combinations make no sense. They are a part of
`stream.settings.Settings`; how a registry is asked is decided in `stream.registry`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr, field_validator, model_validator

from stream.ingest.schemas.fetched import FORMATS

PREFIX = "CORRENTE_SCHEMA_REGISTRY"


class RegistrySettings(BaseModel):
    """Settings of a schema registry, as a part of all settings."""

    schema_registry: str = Field(
        "",
        description="Address of a schema registry, `https://host:8081`, a path included, for records in Confluent's "
        "wire format. Plain JSON is read beside them. Empty: there is none.",
    )
    schema_registry_username: str = Field(
        "", description="User for the registry (basic authentication), or an API key."
    )
    schema_registry_password: SecretStr = Field(
        SecretStr(""), description="Password of that user, or the key's secret."
    )
    schema_registry_ca_file: str = Field(
        "",
        description="Certificates (PEM) of the authorities that may sign the registry's certificate; by default those "
        "of the system.",
    )
    schema_registry_certificate_file: str = Field(
        "", description="Certificate (PEM) that this program shows to the registry, where it asks for one."
    )
    schema_registry_key_file: str = Field(
        "", description="Private key (PEM) of that certificate, if it is in a file of its own."
    )
    schema_registry_timeout_seconds: Annotated[float, Field(gt=0, le=300)] = Field(
        5.0, description="Longest wait for an answer of the registry."
    )
    schema_registry_max_schemas: Annotated[int, Field(ge=16)] = Field(
        1000, description="Schemas that are kept in memory; those that were looked up first are dropped first."
    )
    schema_formats: list[str] = Field(
        default_factory=list,
        description="Formats of the schemas, as JSON: `avro` (needs `corrente[avro]`), `json` (JSON Schema) and "
        "`protobuf` (needs `corrente[protobuf]`). A worker without the library of a format that stands here refuses "
        "to start. Empty: every format whose library is installed. A schema of another format stops its partition.",
    )
    avro_schemas: list[str] = Field(
        default_factory=list,
        description="Files with Avro schemas of your own, as JSON. A record whose schema has the name of one of them "
        "is read by it: fields that the record lacks take the defaults.",
    )

    @field_validator("schema_registry")
    @classmethod
    def _address(cls, value: str) -> str:
        if not value:
            return value
        parts = urlsplit(value)
        if parts.username is not None or parts.password is not None:
            raise ValueError(f"user and password stand in {PREFIX}_USERNAME and {PREFIX}_PASSWORD")
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("an address is http://host:port or https://host:port, and perhaps a path")
        return value.rstrip("/")

    @field_validator("schema_formats")
    @classmethod
    def _formats(cls, value: list[str]) -> list[str]:
        if wrong := [each for each in value if each not in FORMATS]:
            raise ValueError(f"there is no format {wrong[0]!r}; there are {', '.join(FORMATS)}")
        return value

    @model_validator(mode="after")
    def _readable_schemas(self) -> RegistrySettings:
        for name in self.avro_schemas:
            try:
                Path(name).read_bytes()
            except OSError as error:
                raise ValueError(f"CORRENTE_AVRO_SCHEMAS: {name!r} can't be read ({error.strerror})") from None
        return self

    @model_validator(mode="after")
    def _complete_registry(self) -> RegistrySettings:
        given = {
            name.removeprefix("schema_registry_"): getattr(self, name)
            for name in RegistrySettings.model_fields
            if name.startswith("schema_registry_") and name.endswith(("_username", "_password", "_file"))
        }
        used = [name for name, value in given.items() if (value.get_secret_value() if name == "password" else value)]
        if used and not self.schema_registry:
            raise ValueError(f"{PREFIX}_{used[0].upper()} is set, and {PREFIX} is not: set it, or leave the other out")
        for one, other in (("username", "password"), ("password", "username"), ("key_file", "certificate_file")):
            if one in used and other not in used:
                raise ValueError(f"{PREFIX}_{other.upper()} is not set, and {PREFIX}_{one.upper()} needs it")
        if self.schema_registry.startswith("http:") and (tls := [name for name in used if name.endswith("_file")]):
            raise ValueError(
                f"{PREFIX}_{tls[0].upper()} is set, and {PREFIX} has no TLS: write https://, or leave it out"
            )
        for name in (each for each in used if each.endswith("_file")):
            try:
                Path(given[name]).read_bytes()
            except OSError as error:
                raise ValueError(
                    f"{PREFIX}_{name.upper()}={given[name]!r}: this file can't be read ({error.strerror})"
                ) from None
        return self
