"""The folder, the lock and the record by which commands find the running system.

Each user has one folder among the temporary files, which no other user can read. The supervisor holds a lock in it as
long as it lives, and the operating system releases that lock however the supervisor ends: a record that lies there
without a held lock is left over. The record says how far the start is, where everything answers, and why it ended.

This file decides their names, their form, and which settings are recorded. The salt of visitors' hashes is a secret:
only its digest is kept, so that two starts can be compared.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

LOCK_SECONDS = 1.0
"""Longest wait for the lock: a command that only looks holds it for a moment."""
POLL_SECONDS = 0.02

PREFIX = "CORRENTE_"
_REDIS = ["USERNAME", "PASSWORD", "SENTINEL_USERNAME", "SENTINEL_PASSWORD", "CA_FILE", "CERTIFICATE_FILE", "KEY_FILE"]
_KEYS = ["API_KEY", "FIRST_KEY", "REQUIRE_KEYS", "METRICS_TOKEN"]
DECIDED_HERE = (
    *("CORRENTE_KAFKA", "CORRENTE_REDIS", "CORRENTE_HOST", "CORRENTE_PORT", "CORRENTE_CREATE_TOPICS"),
    *(f"CORRENTE_{name}{ending}" for name in _KEYS for ending in ("", "_FILE")),
    *(f"CORRENTE_REDIS_{part}" for part in _REDIS),
    *(f"CORRENTE_REDIS_{part}_FILE" for part in _REDIS),
)
"""Settings of the environment that are not passed on: broker, Redis and address are the system's own, and it needs no
key, because only this machine reaches it."""
SECURITY = "CORRENTE_KAFKA_"
"""Beginning of settings about the security of another Kafka, which are not passed on either."""
SECRET = "CORRENTE_MODEL__VISITOR_SALT"  # noqa: S105  the name of a setting


class Taken(RuntimeError):
    """Another supervisor of this user holds the lock."""


class NoFolder(RuntimeError):
    """The folder can't be used; the text says why, and what would help."""


class Record(msgspec.Struct):
    """State of the running system, as its supervisor wrote it last.

    Attributes:
        pid: process id of the supervisor.
        settings: `CORRENTE_…` variables that were passed on; of the salt only the digest.
        steps: lines about the start so far.
        address: URL of the HTTP server; empty until the system is ready.
        metrics: URL of the worker's metrics.
        kafka: `host:port` of the broker.
        redis: URL of Redis.
        logs: folder of the processes' logs.
        ended: reason of the end, if the system did not start or lost a part; empty otherwise.
    """

    pid: int
    settings: dict[str, str]
    steps: list[str] = []
    address: str = ""
    metrics: str = ""
    kafka: str = ""
    redis: str = ""
    logs: str = ""
    ended: str = ""

    @property
    def ready(self) -> bool:
        return bool(self.address) and not self.ended

    @property
    def port(self) -> int:
        """Port of the HTTP server; 0 until the system is ready."""
        return int(self.address.rpartition(":")[2]) if self.address else 0


class Place:
    """The folder of one user.

    Args:
        folder: made if it is missing; among the temporary files by default.

    Raises:
        NoFolder: it belongs to another user, or is no folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or Path(tempfile.gettempdir()) / f"corrente-quickstart-{os.getuid()}"
        try:
            self.folder.mkdir(mode=0o700, exist_ok=True)
            found = self.folder.lstat()
        except OSError as error:
            raise NoFolder(f"{self.folder}: {error.strerror}. TMPDIR can name another folder.") from None
        if found.st_uid != os.getuid() or not stat.S_ISDIR(found.st_mode):
            raise NoFolder(f"{self.folder} belongs to another user. TMPDIR can name another folder.")
        self.folder.chmod(0o700)
        self.log = self.folder / "supervisor.log"
        self._lock = self.folder / "lock"
        self._turn = self.folder / "turn"
        self._record = self.folder / "record.json"

    @contextmanager
    def turn_to_start(self) -> Iterator[None]:
        """Wait until no other command is starting a supervisor, and keep others waiting meanwhile."""
        with self._turn.open("a") as turn:
            fcntl.flock(turn.fileno(), fcntl.LOCK_EX)
            yield

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock, without anything that an earlier supervisor left.

        Raises:
            Taken: another supervisor holds it.
        """
        with self._lock.open("w") as lock:
            deadline = time.monotonic() + LOCK_SECONDS
            while not _locked(lock.fileno(), fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise Taken(f"another supervisor holds {self._lock}")
                time.sleep(POLL_SECONDS)
            self._clear()
            yield

    @property
    def running(self) -> bool:
        """True while a supervisor lives, whether its system is ready or not."""
        with self._lock.open("a") as lock:
            return not _locked(lock.fileno(), fcntl.LOCK_SH)

    def read(self) -> Record | None:
        """The last record; None if there is none that can be read."""
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Record)
        except (OSError, msgspec.MsgspecError):
            return None

    def write(self, record: Record) -> None:
        """Replace the record in one step."""
        new = self._record.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(record))
        new.replace(self._record)

    def forget(self) -> bool:
        """Remove what an ended supervisor left, but for its log; True if there was anything.

        Raises:
            Taken: a supervisor lives.
        """
        left = self._left()
        with self.held():
            return bool(left)

    def _left(self) -> list[Path]:
        return [path for path in self.folder.iterdir() if path not in {self._lock, self._turn, self.log}]

    def _clear(self) -> None:
        for path in self._left():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings of an environment that the worker and the server are started with."""
    ours = {name.upper(): value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    return {
        name: value
        for name, value in sorted(ours.items())
        if name not in DECIDED_HERE and not name.startswith(SECURITY)
    }


def recorded(settings: Mapping[str, str]) -> dict[str, str]:
    """Settings in the form of the record.

    >>> recorded({"CORRENTE_PARTITIONS": "4"})
    {'CORRENTE_PARTITIONS': '4'}
    """
    return {
        name: "sha256:" + hashlib.sha256(value.encode()).hexdigest() if name == SECRET else value
        for name, value in settings.items()
    }


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
