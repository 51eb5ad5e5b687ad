"""A client of Confluent's schema registry, and of others with the same interface (Karapace, Redpanda, Apicurio).

The interface is described in "Schema Registry API Reference"
(https://docs.confluent.io/platform/current/schema-registry/develop/api.html): a schema by its id or GUID, and a
referenced one by subject and version.

This file decides how a registry is asked, which of its answers are final, and how large a schema may be. Calls block,
and may come from several threads.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from stream.configuration.errors import WrongSetting
from stream.ingest.schemas.fetched import AVRO, PROTOBUF, FetchedSchema, Reference, UnusableSchema
from stream.ingest.schemas.wire import BY_ID, guid_of, id_of
from stream.registry.errors import NotRegistered, RegistryUnusable
from stream.registry_settings import PREFIX, RegistrySettings

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Longest answer that is read. Confluent's registry takes schemas of 1 MB."""

MOST_REFERENCES = 200
"""Most schemas that one refers to, in all."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")

_MISSING = {40401, 40402, 40403}
"""Error codes of a registry: there is no such subject, version or schema."""


class RegistryClient:
    """Asks a registry. It connects when it is first called.

    Args:
        settings: of the registry.

    Raises:
        WrongSetting: a certificate or key can't be used.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        import httpx  # slow to import, and most processes need none

        user, password = settings.schema_registry_username, settings.schema_registry_password.get_secret_value()
        self.address = settings.schema_registry
        self._client = httpx.Client(
            auth=(user, password) if user else None,
            timeout=settings.schema_registry_timeout_seconds,
            verify=_tls(settings) if self.address.startswith("https:") else False,
            headers={"Accept": "application/vnd.schemaregistry.v1+json, application/json"},
        )

    def fetch(self, reference: bytes) -> FetchedSchema:
        """The schema that the beginning of a record names, with everything that it refers to.

        Raises:
            NotRegistered: the registry has no such schema.
            UnusableSchema: it refers to schemas that the registry doesn't have, or to too many.
            RegistryUnusable: the registry can't be asked, or doesn't answer as one.
        """
        path = f"schemas/ids/{id_of(reference)}" if reference[0] == BY_ID else f"schemas/guids/{guid_of(reference)}"
        return self._complete(self._ask(path), path)

    def newest_of(self, subject: str) -> FetchedSchema:
        """The newest schema of a subject; raises as `fetch` does."""
        path = f"subjects/{quote(subject, safe='')}/versions/latest"
        return self._complete(self._ask(path), path)

    def _complete(self, answer: Mapping[str, Any], path: str) -> FetchedSchema:
        """The schema in an answer, with everything that it refers to."""
        kind = str(answer.get("schemaType") or AVRO)
        form = {"format": "serialized"} if kind == PROTOBUF else {}
        text = self._serialized(path) if form else _text_of(answer, self.address)
        found: dict[str, Reference] = {}
        self._add_references(answer, found, form)
        return FetchedSchema(kind, text, tuple(found.values()))

    def _serialized(self, path: str) -> str:
        """A schema of Protobuf as the base64 of its `FileDescriptorProto`, which needs no parser of Protobuf's text.

        Raises:
            RegistryUnusable: the registry gives the text alone.
        """
        text = _text_of(self._ask(path, {"format": "serialized"}), self.address)
        if not _BASE64.fullmatch(text):
            raise RegistryUnusable(
                f"the schema registry {self.address} gives schemas of Protobuf as text, and not serialised "
                f"(/{path}?format=serialized)",
                "use a release of the registry that knows format=serialized (Confluent's, Redpanda from 25.2 on, "
                "Karapace), or let producers write JSON or Avro",
            )
        return text

    def _add_references(self, answer: Mapping[str, Any], found: dict[str, Reference], form: Mapping[str, str]) -> None:
        """Add the schemas to which one refers, each behind those to which it refers itself."""
        for each in answer.get("references") or ():
            name, subject, version = str(each["name"]), str(each["subject"]), int(each["version"])
            if name in found:
                continue
            if len(found) >= MOST_REFERENCES:
                raise UnusableSchema(f"it refers to more than {MOST_REFERENCES} schemas")
            path = f"subjects/{quote(subject, safe='')}/versions/{version}"
            try:
                below = self._ask(path, {"deleted": "true", **form})
            except NotRegistered:
                raise UnusableSchema(
                    f"it refers to {name!r}, which is version {version} of {subject!r}, and the registry has none"
                ) from None
            found[name] = Reference(name, "")  # a place, so that a circle ends
            self._add_references(below, found, form)
            del found[name]
            found[name] = Reference(name, _text_of(below, self.address))

    def _ask(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The JSON object at a path.

        Raises:
            NotRegistered, RegistryUnusable: see `fetch`.
        """
        import httpx

        where = f"the schema registry {self.address}"
        start_it = f"start the registry, or check {PREFIX}"
        try:
            with self._client.stream("GET", f"{self.address}/{path}", params=query) as response:
                body = b""
                for part in response.iter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise RegistryUnusable(f"{where}: the answer to /{path} is too long", start_it)
        except httpx.TimeoutException:
            raise RegistryUnusable(
                f"{where} does not answer in time", f"{start_it} and {PREFIX}_TIMEOUT_SECONDS"
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError) as error:
            detail = str(error) or type(error).__name__
            of_tls = "certificate" in detail.lower() or "ssl" in detail.lower()
            mend = f"check {PREFIX}_CA_FILE and {PREFIX}_CERTIFICATE_FILE" if of_tls else start_it
            raise RegistryUnusable(f"{where} can't be reached: {detail}", mend) from None
        answer = _object_in(body)
        code = answer.get("error_code") if answer is not None else None
        if response.status_code == 404 and code in _MISSING:
            raise NotRegistered(f"the registry has no such schema (error {code})")
        if response.is_success and answer is not None:
            return answer
        said = str(answer.get("message", "")) if answer is not None else ""
        detail = f"{where} answers {response.status_code} {said or response.reason_phrase} to /{path}"[:500]
        if response.status_code in {401, 403}:
            mend = f"check {PREFIX}_USERNAME and {PREFIX}_PASSWORD, and what that user may read"
            raise RegistryUnusable(detail, mend, refused=True)
        if response.status_code >= 500 or response.status_code == 429:
            raise RegistryUnusable(detail, "see the registry's own log")
        raise RegistryUnusable(f"{detail}, as no registry does", f"check {PREFIX}, its path included")

    def close(self) -> None:
        """Close connections."""
        self._client.close()


def _text_of(answer: Mapping[str, Any], address: str) -> str:
    text = answer.get("schema")
    if not isinstance(text, str):
        raise RegistryUnusable(f"the schema registry {address} answers without a schema", f"check {PREFIX}")
    return text


def _object_in(body: bytes) -> dict[str, Any] | None:
    """The JSON object that an answer is; None if it is none."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _tls(settings: RegistrySettings) -> ssl.SSLContext:
    """The context of connections to the registry.

    Raises:
        WrongSetting: a file holds no certificate or key.
    """
    try:
        context = ssl.create_default_context(cafile=settings.schema_registry_ca_file or None)
    except OSError as error:  # ssl.SSLError is one
        raise WrongSetting(
            f"{PREFIX}_CA_FILE={settings.schema_registry_ca_file!r}: this file holds no certificate in PEM ({error})"
        ) from None
    if settings.schema_registry_certificate_file:
        try:
            # A function: OpenSSL would ask on the terminal for the password of an encrypted key.
            key = settings.schema_registry_key_file or None
            context.load_cert_chain(settings.schema_registry_certificate_file, key, lambda: "")
        except OSError as error:
            raise WrongSetting(
                f"{PREFIX}_CERTIFICATE_FILE={settings.schema_registry_certificate_file!r}: certificate and key in PEM, "
                f"without a password, can't be read ({error})"
            ) from None
    return context
