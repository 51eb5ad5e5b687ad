"""Schemas are looked up once, and what isn't there is asked for again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness.schema_registry import SchemaRegistry
from stream.configuration.errors import WrongSetting
from stream.ingest.schemas.known import SchemasMissing
from stream.registry import lookup
from stream.registry.errors import RegistryUnusable
from stream.registry.lookup import SchemaLookup, formats_of, schema_lookup
from stream.registry_settings import RegistrySettings
from stream.settings import WrongSetting as SettingsError
from stream.settings import load_settings
from stream.values import InvalidEvent
from tests.stream.ingest.schemas.avro_records import CLICK, encoded, framed


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[SchemaRegistry]:
    monkeypatch.setattr(lookup, "CONFIRM_SECONDS", 0.01)
    with SchemaRegistry() as running:
        yield running


@pytest.fixture
def schemas(registry: SchemaRegistry) -> Iterator[SchemaLookup]:
    found = schema_lookup(RegistrySettings(schema_registry=registry.url))
    assert found is not None
    yield found
    found.close()


async def test_each_schema_is_asked_for_once(registry: SchemaRegistry, schemas: SchemaLookup) -> None:
    number = registry.register(json.dumps(CLICK))
    value = framed(number, encoded(CLICK, {"item": "tea", "user": "ada", "timestamp": None}))
    await schemas.look_up([framed(number, b"")])
    for _ in range(3):
        assert schemas.known.require([value])
        assert schemas.known.read(value) == {"item": "tea", "user": "ada", "timestamp": None}
    assert registry.asked == [f"/schemas/ids/{number}"]


async def test_a_schema_that_is_registered_a_moment_later_is_found(
    registry: SchemaRegistry, schemas: SchemaLookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def register(_: float) -> None:
        registry.register(json.dumps(CLICK))

    monkeypatch.setattr(lookup.asyncio, "sleep", register)
    await schemas.look_up([framed(1, b"")])
    assert schemas.known.require([framed(1, b"")])
    assert len(registry.asked) == 2


async def test_an_unknown_schema_makes_letters_for_a_while_and_is_then_asked_for_again(
    registry: SchemaRegistry, schemas: SchemaLookup, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "UNKNOWN_SECONDS", 0.0)
    await schemas.look_up([framed(1, b"")])
    with pytest.raises(InvalidEvent, match="schema: id 1: the registry has no such schema"):
        schemas.known.read(framed(1, b"x"))
    await lookup.asyncio.sleep(0)  # the loop runs what is due
    await lookup.asyncio.sleep(0)
    with pytest.raises(SchemasMissing):
        schemas.known.require([framed(1, b"x")])


async def test_a_schema_that_can_t_be_used_says_why(registry: SchemaRegistry, schemas: SchemaLookup) -> None:
    broken, foreign = registry.register("{"), registry.register("x", "THRIFT")
    await schemas.look_up([framed(broken, b""), framed(foreign, b"")])
    for number, reason in ((broken, "no Avro schema"), (foreign, "its format is THRIFT")):
        with pytest.raises(InvalidEvent, match=reason):
            schemas.known.read(framed(number, b"x"))


async def test_a_registry_that_is_away_leaves_found_schemas_known(
    registry: SchemaRegistry, schemas: SchemaLookup
) -> None:
    number = registry.register(json.dumps(CLICK))
    await schemas.look_up([framed(number, b"")])
    registry.stop()
    with pytest.raises(RegistryUnusable):
        await schemas.look_up([framed(9, b"")])
    assert schemas.known.require([framed(number, b"")])


async def test_a_format_that_the_settings_leave_out_stops_instead_of_making_letters(registry: SchemaRegistry) -> None:
    found = schema_lookup(RegistrySettings(schema_registry=registry.url, schema_formats=["json"]))
    assert found is not None
    number = registry.register(json.dumps(CLICK))
    with pytest.raises(RegistryUnusable, match="CORRENTE_SCHEMA_FORMATS leaves it out") as left_out:
        await found.look_up([framed(number, b"")])
    assert "add 'avro'" in left_out.value.mend
    found.close()


def test_a_worker_without_the_library_of_a_format_that_it_names_refuses_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stream.ingest.schemas.readers.find_spec", lambda _: None)
    for name in ("avro", "protobuf"):
        with pytest.raises(WrongSetting, match=rf"names {name}, .*pip install 'corrente\[{name}\]'"):
            schema_lookup(RegistrySettings(schema_registry="http://localhost:8081", schema_formats=["json", name]))
    assert schema_lookup(RegistrySettings()) is None


async def test_without_a_setting_the_formats_are_those_whose_library_is_installed(
    registry: SchemaRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = RegistrySettings(schema_registry=registry.url)
    assert formats_of(settings) == ["avro", "json", "protobuf"]
    monkeypatch.setattr("stream.ingest.schemas.readers.find_spec", lambda _: None)
    assert formats_of(settings) == ["json"]
    found = schema_lookup(settings)
    assert found is not None
    number = registry.register(json.dumps(CLICK))
    with pytest.raises(RegistryUnusable, match="is AVRO, and its library is not installed") as missing:
        await found.look_up([framed(number, b"")])
    assert "pip install 'corrente[avro]'" in missing.value.mend
    found.close()


async def test_avro_schemas_of_our_own_come_from_files(registry: SchemaRegistry, tmp_path: Path) -> None:
    more = CLICK | {"fields": [*CLICK["fields"], {"name": "event_id", "type": "string", "default": "none"}]}
    path = tmp_path / "click.avsc"
    path.write_text(json.dumps(more))
    found = schema_lookup(RegistrySettings(schema_registry=registry.url, avro_schemas=[str(path)]))
    assert found is not None
    number = registry.register(json.dumps(CLICK))
    await found.look_up([framed(number, b"")])
    value = framed(number, encoded(CLICK, {"item": "tea", "user": "ada", "timestamp": None}))
    assert found.known.read(value) == {"item": "tea", "user": "ada", "timestamp": None, "event_id": "none"}
    found.close()
    path.write_text("{")
    with pytest.raises(WrongSetting, match=r"CORRENTE_AVRO_SCHEMAS: .*click\.avsc: it is no Avro schema"):
        schema_lookup(RegistrySettings(schema_registry=registry.url, avro_schemas=[str(path)]))
    with pytest.raises(SettingsError, match=r"CORRENTE_AVRO_SCHEMAS: '/no/file' can't be read"):
        load_settings({"CORRENTE_AVRO_SCHEMAS": '["/no/file"]'})
