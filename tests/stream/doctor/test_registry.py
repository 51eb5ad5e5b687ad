"""The doctor's checks of a schema registry: away, refusing, with good and bad schemas of topics."""

from __future__ import annotations

import json

from benchmarks.harness.schema_registry import SchemaRegistry
from stream.doctor.findings import Finding, Severity
from stream.doctor.registry import check_registry
from stream.settings import Settings, load_settings
from tests.stream.ingest.schemas.avro_records import CLICK
from tests.stream.ingest.schemas.protobuf_records import serialized, shop


def found_with(registry: SchemaRegistry, **more: str) -> list[Finding]:
    return check_registry(load_settings({"CORRENTE_SCHEMA_REGISTRY": registry.url, **more}))


def brief(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.check, finding.severity.name) for finding in findings]


def test_nothing_is_checked_without_a_registry() -> None:
    assert check_registry(Settings()) == []


def test_the_newest_schema_of_each_topic_is_read() -> None:
    with SchemaRegistry() as registry:
        registry.register(json.dumps(CLICK), subject="clicks-value")
        serialized(registry.url, "purchases", shop().message("shop.Envelope.Order")())
        findings = found_with(registry)
        assert brief(findings) == [("registry.reachable", "OK")] + [("registry.schemas", "OK")] * 2 + [
            ("registry.schemas", "NOTE")
        ]
        assert "purchases-value is PROTOBUF" in findings[2].found
        assert "no subject feedback-value" in findings[3].found
        left_out = found_with(registry, CORRENTE_SCHEMA_FORMATS='["avro"]')[2]
        assert (left_out.severity, left_out.mend) == (Severity.ERROR, "add it to CORRENTE_SCHEMA_FORMATS")
        registry.register("{", subject="clicks-value")
        broken = found_with(registry)[1]
        assert broken.severity is Severity.ERROR
        assert "no Avro schema" in broken.found


def test_a_registry_that_is_away_or_refuses_is_one_error_with_the_mend() -> None:
    with SchemaRegistry(user=("shop", "secret")) as registry:
        (refused,) = found_with(registry)
        assert (refused.check, refused.severity) == ("registry.rights", Severity.ERROR)
        assert "CORRENTE_SCHEMA_REGISTRY_PASSWORD" in refused.mend
    (away,) = found_with(registry)
    assert (away.check, away.severity) == ("registry.reachable", Severity.ERROR)
    assert "start the registry" in away.mend


def test_files_and_libraries_that_settings_name_have_to_be_there(tmp_path) -> None:
    path = tmp_path / "cart.avsc"
    path.write_text("{")
    with SchemaRegistry() as registry:
        (wrong,) = found_with(registry, CORRENTE_AVRO_SCHEMAS=json.dumps([str(path)]))
    assert (wrong.check, wrong.severity) == ("registry.settings", Severity.ERROR)
