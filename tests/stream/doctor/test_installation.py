"""The doctor's checks of settings, salt, kernels and server, without Kafka and Redis; and the command itself."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from stream.doctor.cli import doctor as command
from stream.doctor.findings import Severity
from stream.doctor.installation import check_disk, check_kernels, check_salt, check_settings
from stream.doctor.kafka import configuration_problems
from stream.doctor.server import readiness
from stream.settings import Settings, load_settings
from tests.other_user import as_stranger, needs_root
from tests.stream.test_service_links import SERVICE


def test_settings_that_are_set_are_named_and_those_of_a_service_are_left_out():
    given, left_out = check_settings({**SERVICE, "CORRENTE_KAFKA": "kafka:9092", "PATH": "/bin"})
    assert given.found == "set: CORRENTE_KAFKA"
    assert "CORRENTE_SERVICE_HOST" in left_out.found
    assert left_out.severity is Severity.NOTE


def test_a_salt_that_could_be_guessed_is_a_warning_and_a_good_one_is_not():
    assert check_salt(Settings())[0].severity is Severity.WARNING
    assert "openssl rand -hex 32" in check_salt(Settings())[0].mend
    good = load_settings({"CORRENTE_MODEL__VISITOR_SALT": "0123456789abcdef"})
    assert check_salt(good)[0].severity is Severity.OK


def test_a_disk_is_reported_with_its_free_space():
    assert {finding.check for finding in check_disk({}, Settings(server_processes=2))} == {"disk"}


def test_the_kernel_folder_is_named():
    (found,) = check_kernels({"HOME": "/nowhere"})
    assert "__pycache__" in found.found
    assert found.severity <= Severity.NOTE


@pytest.mark.parametrize(
    ("config", "check", "severity", "mend"),
    [
        ({"cleanup.policy": "compact"}, "kafka.retention", Severity.ERROR, "cleanup.policy=delete"),
        ({"retention.ms": "3600000"}, "kafka.retention", Severity.WARNING, "retention.ms=604800000"),
        ({"message.timestamp.type": "LogAppendTime"}, "kafka.timestamps", Severity.WARNING, "CreateTime"),
        ({"message.timestamp.after.max.ms": str(2**63 - 1)}, "kafka.timestamps", Severity.WARNING, "=3600000"),
    ],
)
def test_a_topic_whose_configuration_loses_events_is_reported_with_the_command(config, check, severity, mend):
    (found,) = configuration_problems("clicks", config, Settings())
    assert (found.check, found.severity) == (check, severity)
    assert found.mend.startswith("kafka-configs.sh --bootstrap-server localhost:9092 --alter")
    assert mend in found.mend
    assert configuration_problems("clicks", {"retention.ms": "-1", "cleanup.policy": "delete"}, Settings()) == []


def test_each_state_of_a_server_has_its_severity():
    away = {"up": False, "reason": "refused"}
    stopped = [{"shard": 0, "detail": "no right", "mend": "give it"}]
    starting = readiness("http://host", 503, {"status": "starting"})
    degraded = readiness("http://host", 200, {"status": "degraded", "redis": away, "stopped": stopped})
    assert [finding.severity for finding in starting] == [Severity.ERROR]
    assert [(finding.severity, finding.mend) for finding in degraded] == [
        (Severity.WARNING, "start Redis, or look there"),
        (Severity.WARNING, "give it"),
    ]


def doctor_of_a_stranger(*options: str) -> tuple[int, dict]:
    words = [sys.executable, "-m", "stream.cli", "doctor", "--json", *options]
    nowhere = {"CORRENTE_KAFKA": "127.0.0.1:9", "CORRENTE_REDIS": "redis://127.0.0.1:9", "CORRENTE_PORT": "9"}
    done = subprocess.run(
        as_stranger(words),
        env={"PATH": "/usr/bin:/bin", "HOME": "/nowhere", **nowhere},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


@needs_root
@pytest.mark.unmeasured
def test_the_command_tells_a_stranger_what_is_missing_and_ends_with_2():
    code, found = doctor_of_a_stranger("--server", "http://127.0.0.1:9")
    errors = {each["check"] for each in found["findings"] if each["severity"] == "error"}
    assert (code, found["exit_code"]) == (2, 2)
    assert {"kafka.reachable", "redis.reachable", "server.ready"} <= errors
    assert all(each["mend"] for each in found["findings"] if each["severity"] in {"warning", "error"})


def test_a_wrong_setting_is_a_finding_and_kafka_and_redis_are_left_alone(monkeypatch):
    monkeypatch.setenv("CORRENTE_PROT", "1")
    monkeypatch.setenv("CORRENTE_KAFKA", "nowhere")
    done = CliRunner().invoke(typer_app(), ["--json"])
    assert done.exit_code == 2
    found = json.loads(done.output)["findings"]
    assert "Did you mean CORRENTE_PORT?" in found[0]["found"]
    assert {each["check"] for each in found} == {"settings", "kernels"}


def typer_app() -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app
