"""A running system as a shell sees it: what is exported, what a second start compares, what is refused at once."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulators.quickstart.record import Place, Record, passed_on, recorded
from simulators.quickstart.session import NotRunning, Session, exports


def nothing(*_: object) -> None: ...


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(Place(tmp_path / "place"))


RUNNING = Record(
    os.getpid(),
    recorded({"CORRENTE_FIELDS": '{"item": "product\'s id"}', "CORRENTE_MODEL__VISITOR_SALT": "secret"}),
    ["started"],
    "http://127.0.0.1:9000",
    kafka="127.0.0.1:9092",
    redis="unix:///tmp/redis.sock",
)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Session]:
    """The session of a system that runs as `RUNNING` says."""
    place = Place(tmp_path / "place")
    with place.held():
        place.write(RUNNING)
        yield Session(place)


def test_exports_are_read_by_a_shell_as_they_were_given() -> None:
    lines = "\n".join(exports(RUNNING, {}))
    shell = subprocess.run(["sh", "-c", f"{lines}\nenv"], capture_output=True, text=True, check=True, env={})
    found = dict(line.split("=", 1) for line in shell.stdout.splitlines() if line.startswith("CORRENTE_"))
    assert found == {
        "CORRENTE_KAFKA": "127.0.0.1:9092",
        "CORRENTE_REDIS": "unix:///tmp/redis.sock",
        "CORRENTE_PORT": "9000",
        "CORRENTE_FIELDS": '{"item": "product\'s id"}',
    }


def test_a_setting_that_the_shell_has_already_is_not_exported_again() -> None:
    lines = exports(RUNNING, {"CORRENTE_FIELDS": RUNNING.settings["CORRENTE_FIELDS"]})
    assert [shlex.split(line)[1].partition("=")[0] for line in lines] == [
        "CORRENTE_KAFKA",
        "CORRENTE_REDIS",
        "CORRENTE_PORT",
    ]


def test_security_of_another_kafka_is_neither_passed_on_nor_left_in_the_shell() -> None:
    secured = {"CORRENTE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "CORRENTE_KAFKA_SASL_PASSWORD": "k#y"}
    assert passed_on(secured) == {}
    lines = "\n".join(exports(RUNNING, secured))
    shell = subprocess.run(["sh", "-c", f"{lines}\nenv"], capture_output=True, text=True, check=True, env=secured)
    assert "CORRENTE_KAFKA_" not in shell.stdout


SAME = {"CORRENTE_FIELDS": '{"item": "product\'s id"}', "CORRENTE_MODEL__VISITOR_SALT": "secret"}


@pytest.mark.parametrize("port", [0, 9000])
def test_a_second_start_with_the_same_settings_finds_the_first(running: Session, port: int) -> None:
    environment = {**SAME, "CORRENTE_KAFKA": "127.0.0.1:9092", "CORRENTE_PORT": "9000"}  # as exported
    started = running.start(port, environment, 0, nothing, nothing)
    assert (started.new, started.record) == (False, RUNNING)


@pytest.mark.parametrize(
    ("port", "environment", "difference"),
    [
        (8080, SAME, "port 9000, not 8080"),
        (9000, {**SAME, "CORRENTE_PARTITIONS": "4"}, r"CORRENTE_PARTITIONS=\(unset\)"),
        (9000, {**SAME, "CORRENTE_FIELDS": "{}"}, "CORRENTE_FIELDS="),
        (9000, {**SAME, "CORRENTE_MODEL__VISITOR_SALT": "other"}, "CORRENTE_MODEL__VISITOR_SALT"),
    ],
)
def test_a_second_start_with_other_settings_names_them(
    running: Session, port: int, environment: dict[str, str], difference: str
) -> None:
    with pytest.raises(NotRunning, match=rf"{difference}.*corrente quickstart --stop") as refused:
        running.start(port, environment, 0, nothing, nothing)
    assert "secret" not in str(refused.value)


def test_a_port_that_is_taken_is_refused_before_anything_starts(session: Session, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotRunning, match=rf"port {port} of 127\.0\.0\.1 can't be used: .*--port \d+, or --port 0"):
            session.start(port, {}, 0, nothing, nothing)
    assert not (tmp_path / "place" / "supervisor.log").exists()


def test_a_record_that_was_left_over_is_not_taken_for_a_running_system(session: Session, tmp_path: Path) -> None:
    """The process id in it may be another program's by now: nothing is sent to it."""
    with subprocess.Popen(["sleep", "600"]) as innocent:
        place = Place(tmp_path / "place")
        place.write(Record(innocent.pid, {}, [], "http://127.0.0.1:9000"))
        assert session.record is None
        assert session.last_end == "its supervisor was killed"
        assert not session.stop()
        assert innocent.poll() is None
        assert session.last_end == ""
        innocent.kill()
