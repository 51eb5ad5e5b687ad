"""A weak salt is refused on addresses that other machines can reach, and only there."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from serving.process.salt_check import is_loopback, require_strong_salt
from stream.settings import WrongSetting

STRONG = "16 bytes or more"
WEAK = "15 bytes, short"


@contextmanager
def bound(host: str) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        try:
            listening.bind((host, 0))
        except OSError as error:
            pytest.skip(f"this machine can't bind {host}: {error}")
        yield listening


LOOPBACK = ["127.0.0.1", "127.0.0.2", "127.255.255.254", "localhost", "::1", "::ffff:127.0.0.1"]
BEYOND = ["0.0.0.0", "::", "::ffff:0.0.0.0"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_loopback_a_weak_salt_is_a_warning(host: str):
    with bound(host) as listening, capture_logs() as logs:
        assert is_loopback(listening)
        require_strong_salt(listening, WEAK)
    assert [(line["log_level"], line["event"]) for line in logs] == [("warning", "weak visitor salt")]
    assert WEAK not in str(logs)


@pytest.mark.parametrize("host", BEYOND)
def test_beyond_loopback_a_weak_salt_is_refused(host: str):
    with bound(host) as listening:
        assert not is_loopback(listening)
        with pytest.raises(
            WrongSetting, match=r"CORRENTE_MODEL__VISITOR_SALT.*docs/how-to/change-the-visitor-salt\.md"
        ) as refused:
            require_strong_salt(listening, WEAK)
    assert WEAK not in str(refused.value)


@pytest.mark.parametrize("host", LOOPBACK + BEYOND)
def test_a_salt_of_16_bytes_is_good_everywhere(host: str):
    assert len(STRONG) == 16
    with bound(host) as listening, capture_logs() as logs:
        require_strong_salt(listening, STRONG)
    assert logs == []


def test_bytes_count_not_letters():
    """Ten letters of two bytes each are enough; fifteen of one byte are not."""
    with bound("0.0.0.0") as listening:
        require_strong_salt(listening, "ä" * 10)
        with pytest.raises(WrongSetting):
            require_strong_salt(listening, "a" * 15)


def test_the_default_salt_is_refused_whatever_its_length():
    from stream.settings import Settings

    with bound("0.0.0.0") as listening, pytest.raises(WrongSetting):
        require_strong_salt(listening, Settings().model.visitor_salt)


def test_a_unix_socket_is_this_machine_s_own(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "server"))
        assert is_loopback(listening)
