"""A registry is asked over HTTP, with and without TLS and a password; each of its answers has a meaning."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.schema_registry import SchemaRegistry
from stream.configuration.errors import WrongSetting
from stream.ingest.schemas.fetched import FetchedSchema, Reference, UnusableSchema
from stream.registry.client import RegistryClient
from stream.registry.errors import NotRegistered, RegistryUnusable
from stream.registry_settings import RegistrySettings
from stream.settings import WrongSetting as SettingsError
from stream.settings import load_settings
from tests.connections.certificates import make_certificates
from tests.stream.ingest.schemas.avro_records import CLICK, framed


@pytest.fixture
def registry() -> Iterator[SchemaRegistry]:
    with SchemaRegistry() as running:
        yield running


def client_of(address: str, **more: Any) -> RegistryClient:
    return RegistryClient(RegistrySettings(schema_registry=address, schema_registry_timeout_seconds=0.5, **more))


def test_a_schema_is_found_by_id_and_by_guid(registry: SchemaRegistry) -> None:
    number = registry.register(json.dumps(CLICK))
    other = registry.register("{}", "JSON")
    client = client_of(registry.url)
    assert client.fetch(framed(number, b"")) == FetchedSchema("AVRO", json.dumps(CLICK))
    assert client.fetch(b"\1" + registry.guid(other).bytes) == FetchedSchema("JSON", "{}")


def test_references_come_before_those_that_refer_to_them_and_each_once(registry: SchemaRegistry) -> None:
    registry.register('"a"', subject="a/b c")
    registry.register('"b"', subject="b", references=[("A", "a/b c", 1)])
    number = registry.register('"c"', references=[("B", "b", 1), ("A", "a/b c", 1)])
    found = client_of(registry.url).fetch(framed(number, b""))
    assert found == FetchedSchema("AVRO", '"c"', (Reference("A", '"a"'), Reference("B", '"b"')))
    dangling = registry.register('"d"', references=[("Gone", "gone", 3)])
    with pytest.raises(UnusableSchema, match="refers to 'Gone', which is version 3 of 'gone'"):
        client_of(registry.url).fetch(framed(dangling, b""))


def test_a_path_a_password_and_tls(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    server = (str(files.server), str(files.server_key))
    with SchemaRegistry("/apis/registry", ("shop", "s#c:ret"), server) as registry:
        number = registry.register(json.dumps(CLICK))
        whole = {
            "schema_registry_username": "shop",
            "schema_registry_password": "s#c:ret",
            "schema_registry_ca_file": str(files.ca),
        }
        assert client_of(f"{registry.url}/", **whole).fetch(framed(number, b"")).text == json.dumps(CLICK)
        for wrong, mend in [
            ({"schema_registry_password": "other"}, "CORRENTE_SCHEMA_REGISTRY_PASSWORD"),
            ({"schema_registry_ca_file": ""}, "CORRENTE_SCHEMA_REGISTRY_CA_FILE"),
        ]:
            with pytest.raises(RegistryUnusable) as refused:
                client_of(registry.url, **(whole | wrong)).fetch(framed(number, b""))
            assert mend in refused.value.mend
            assert "other" not in str(refused.value)
        with pytest.raises(RegistryUnusable, match="answers 404") as lost:
            client_of(registry.url.removesuffix("/registry"), **whole).fetch(framed(number, b""))
        assert "path" in lost.value.mend
    with pytest.raises(WrongSetting, match="CORRENTE_SCHEMA_REGISTRY_CA_FILE"):
        client_of(registry.url, **(whole | {"schema_registry_ca_file": str(files.server_key)}))


def test_a_registry_that_asks_for_a_certificate_gets_one(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    server = (str(files.server), str(files.server_key))
    with SchemaRegistry(certificate=server, client_ca=str(files.ca)) as registry:
        number = registry.register(json.dumps(CLICK))
        whole = {
            "schema_registry_ca_file": str(files.ca),
            "schema_registry_certificate_file": str(files.client),
            "schema_registry_key_file": str(files.client_key),
        }
        assert client_of(registry.url, **whole).fetch(framed(number, b"")).text == json.dumps(CLICK)
        with pytest.raises(RegistryUnusable) as refused:
            client_of(registry.url, schema_registry_ca_file=str(files.ca)).fetch(framed(number, b""))
        assert "CORRENTE_SCHEMA_REGISTRY_CERTIFICATE_FILE" in refused.value.mend
        with pytest.raises(WrongSetting, match="CORRENTE_SCHEMA_REGISTRY_CERTIFICATE_FILE"):
            client_of(registry.url, **(whole | {"schema_registry_key_file": str(files.server_key)}))


def test_the_newest_schema_of_a_subject(registry: SchemaRegistry) -> None:
    registry.register('"a"', subject="a/b c")
    registry.register('"b"', subject="a/b c")
    client = client_of(registry.url)
    assert client.newest_of("a/b c").text == '"b"'
    with pytest.raises(NotRegistered):
        client.newest_of("other")


def test_a_schema_that_is_not_there_is_another_answer_than_a_registry_that_is_not_well(
    registry: SchemaRegistry,
) -> None:
    client = client_of(registry.url)
    with pytest.raises(NotRegistered):
        client.fetch(framed(5, b""))
    for status in (401, 403, 429, 500, 503):
        registry.failing = status
        with pytest.raises(RegistryUnusable, match=f"answers {status}"):
            client.fetch(framed(5, b""))
    registry.stop()
    with pytest.raises(RegistryUnusable, match="can't be reached"):
        client.fetch(framed(5, b""))
    with socket.create_server(("localhost", 0)) as silent, pytest.raises(RegistryUnusable, match="in time"):
        client_of(f"http://localhost:{silent.getsockname()[1]}").fetch(framed(5, b""))


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"": "localhost:8081"}, "an address is http://host:port"),
        ({"": "http://shop:secret@localhost"}, "stand in CORRENTE_SCHEMA_REGISTRY_USERNAME"),
        ({"_USERNAME": "shop"}, "CORRENTE_SCHEMA_REGISTRY is not"),
        ({"": "http://localhost", "_USERNAME": "shop"}, "CORRENTE_SCHEMA_REGISTRY_PASSWORD is not set"),
        ({"": "http://localhost", "_CA_FILE": "/no/file"}, "has no TLS"),
        ({"": "https://localhost", "_CA_FILE": "/no/file"}, "can't be read"),
        ({"": "https://localhost", "_KEY_FILE": "/no/file"}, "CORRENTE_SCHEMA_REGISTRY_CERTIFICATE_FILE is not set"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given: dict[str, str], reason: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({f"CORRENTE_SCHEMA_REGISTRY{name}": value for name, value in given.items()})
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)


def test_an_unknown_format_is_refused_and_the_password_is_not_shown() -> None:
    with pytest.raises(SettingsError, match="there is no format 'thrift'"):
        load_settings({"CORRENTE_SCHEMA_FORMATS": '["thrift"]'})
    settings = load_settings(
        {
            "CORRENTE_SCHEMA_REGISTRY": "http://localhost:8081/",
            "CORRENTE_SCHEMA_REGISTRY_USERNAME": "shop",
            "CORRENTE_SCHEMA_REGISTRY_PASSWORD": "s3cret",
        }
    )
    assert settings.schema_registry == "http://localhost:8081"
    assert "s3cret" not in repr(settings)
