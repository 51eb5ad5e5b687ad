"""The folder of a running system: one supervisor a user, nothing left over, no secret in the record."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from simulators.quickstart.record import NoFolder, Place, Record, Taken, passed_on, recorded


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "place")


def test_only_its_user_can_read_the_folder(place: Place) -> None:
    assert place.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_of_another_user_is_refused_by_name(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: place.folder.stat().st_uid + 1)
    with pytest.raises(NoFolder, match=rf"{place.folder} belongs to another user. TMPDIR can name another folder"):
        Place(place.folder)


def test_a_link_that_another_user_laid_is_not_followed(place: Place, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(place.folder)
    with pytest.raises(NoFolder, match=str(link)):
        Place(link)


def test_two_users_have_two_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ours = Place().folder
    assert ours.parent == tmp_path
    assert ours.name.endswith(f"-{os.getuid()}")


def test_there_is_one_supervisor_at_a_time(place: Place) -> None:
    assert not place.running
    with place.held():
        assert place.running
        with pytest.raises(Taken), Place(place.folder).held():
            pass
        with pytest.raises(Taken):
            place.forget()
    assert not place.running


def test_the_lock_of_a_killed_supervisor_is_free(place: Place) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from simulators.quickstart.record import Place\n"
        "with Place(pathlib.Path(sys.argv[1])).held():\n"
        "    print('held', flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", script, str(place.folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        assert place.running
        process.kill()
    assert not place.running


def test_what_a_killed_supervisor_left_is_removed(place: Place) -> None:
    place.write(Record(1, {}))
    (place.folder / "corrente-abc").mkdir()
    (place.folder / "corrente-abc" / "worker.log").write_text("")
    assert place.forget()
    assert place.read() is None
    assert not list(place.folder.glob("corrente-*"))


def test_a_record_comes_back_as_it_was_written(place: Place) -> None:
    record = Record(7, {"CORRENTE_PARTITIONS": "4"}, ["one", "two"], "http://127.0.0.1:9000", kafka="127.0.0.1:1")
    place.write(record)
    assert place.read() == record
    assert record.ready
    assert record.port == 9000


@pytest.mark.parametrize("content", [b"", b"{", b'{"pid": "seven"}'])
def test_a_record_that_cannot_be_read_is_none(place: Place, content: bytes) -> None:
    (place.folder / "record.json").write_bytes(content)
    assert place.read() is None


def test_settings_are_passed_on_but_for_those_that_the_system_decides() -> None:
    environment = {"PATH": "/bin", "CORRENTE_KAFKA": "k:1", "CORRENTE_PORT": "1", "corrente_clicks_topic": "views"}
    assert passed_on(environment) == {"CORRENTE_CLICKS_TOPIC": "views"}


def test_of_the_salt_only_a_digest_is_recorded() -> None:
    settings = {"CORRENTE_MODEL__VISITOR_SALT": "a long and secret salt", "CORRENTE_PARTITIONS": "2"}
    kept = recorded(settings)
    assert "a long and secret salt" not in str(kept)
    assert kept["CORRENTE_PARTITIONS"] == "2"
    assert kept != recorded({**settings, "CORRENTE_MODEL__VISITOR_SALT": "another"})


def test_commands_take_turns_to_start_a_supervisor(place: Place) -> None:
    """A second start has to find the first one's record: it waits from the look for a supervisor to the record."""
    order: list[str] = []

    def second() -> None:
        with Place(place.folder).turn_to_start():
            order.append("second")

    with place.turn_to_start():
        thread = threading.Thread(target=second)
        thread.start()
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
