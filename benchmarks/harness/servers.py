"""A real Apache Kafka and a real redis-server as child processes, for benchmarks and integration tests.

One Kafka node in KRaft mode, without containers. Data lie in a folder that the caller gives, so that a server can be
stopped, or killed, and started again on the same data. Each server is a context manager:

    with KafkaServer(folder / "kafka") as kafka, RedisServer(folder / "redis") as redis:
        print(kafka.bootstrap, redis.url)

This file decides how the two servers are configured, started, paused and stopped. Kafka's jars are found in
`benchmarks.harness.kafka_jars`; the embedded broker and Redis of `corrente demo` are in `simulators.embedded`. Which
tests are skipped if a server is missing is decided by the tests.
"""

# ruff: noqa: S603  servers are started by argument lists, without a shell

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from benchmarks.harness.kafka_jars import MissingServer, kafka_jars
from benchmarks.harness.waiting import wait_until

CLUSTER_ID = "corrente-test-cluster0"
START_SECONDS = 120.0
PORTS = range(15_000, 32_000)
"""Ports of servers: below those that Linux gives to outgoing connections (from 32,768 on), so that no connection of a
test that runs at the same time takes a port between its choice and the start of the server."""
STOP_SECONDS = 15.0
"""From SIGTERM to SIGKILL."""

_random = random.SystemRandom()


class ServerProcess:
    """One server as a child process; as a context manager it is started on entry and killed on exit.

    Args:
        folder: for its data, configuration and log; made if it doesn't exist.
    """

    log_name: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop(kill=True)

    def start(self) -> Self:
        """Start on the data that the folder holds, and wait until the port takes connections.

        Raises:
            MissingServer: its program isn't on this machine.
            RuntimeError: it ended while it started; the text has the end of its log.
            TimeoutError: the port took no connection within `START_SECONDS`.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self._command()
        log = self.folder / self.log_name
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until(lambda: self._accepts(log), f"a server on port {self.port}; see {log}", START_SECONDS)
        except BaseException:  # Ctrl-C included: a server that no caller has got would run on
            self.stop(kill=True)
            raise
        return self

    def stop(self, *, kill: bool = False) -> None:
        """End the process: with SIGTERM, and with SIGKILL if it takes too long; with SIGKILL at once if `kill`."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGCONT)  # a paused process takes no other signal but SIGKILL
        process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Suspended: connections stay open and are neither answered nor refused, as behind a broken network."""
        assert self._process is not None, "only a running server can be paused"
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _accepts(self, log: Path) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise RuntimeError(
                f"the server ended with {self._process.returncode}:\n{log.read_text(errors='replace')[-3000:]}"
            )
        with socket.socket() as client:
            client.settimeout(1.0)
            return client.connect_ex(("127.0.0.1", self.port)) == 0


class KafkaServer(ServerProcess):
    """One Kafka node, broker and controller, on loopback ports.

    Args:
        folder: for its configuration, log and data.
        settings: further broker properties, by name.
        cluster_id: 22 characters of base64.
        users: passwords of SCRAM users, by name; the data are formatted with them, for both mechanisms.
        brief: compile its code quickly instead of well: for one that runs for seconds and isn't measured.

    Attributes:
        settings: the further properties, which may be changed until the first start.
    """

    log_name = "kafka.log"

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        *,
        cluster_id: str = CLUSTER_ID,
        users: Mapping[str, str] | None = None,
        brief: bool = False,
    ) -> None:
        super().__init__(folder)
        self.controller_port = free_port()
        self.settings = dict(settings or {})
        self._cluster_id = cluster_id
        self._users = dict(users or {})
        self._brief = brief

    @property
    def bootstrap(self) -> str:
        """The broker's address, `host:port`."""
        return f"127.0.0.1:{self.port}"

    def _command(self) -> list[str]:
        properties = self.folder / "server.properties"
        if not properties.exists():
            properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
            _format_data(properties, self._cluster_id, self._users)
        compiling = [_COMPILED_QUICKLY] if self._brief else []
        return [*_java("-Xmx512m", "-XX:+UseSerialGC", *compiling), "kafka.Kafka", str(properties)]

    def _properties(self) -> dict[str, str]:
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self.controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "broker.session.timeout.ms": "2000",  # a killed node is let back in after this
            "broker.heartbeat.interval.ms": "250",
            "auto.create.topics.enable": "false",
            **self.settings,
        }


class RedisServer(ServerProcess):
    """One redis-server on a loopback port. It keeps nothing on disk unless `appendonly`."""

    log_name = "redis.log"

    def __init__(self, folder: Path, *, appendonly: bool = False) -> None:
        super().__init__(folder)
        self._appendonly = appendonly

    @property
    def url(self) -> str:
        """Its address, `redis://host:port/0`."""
        return f"redis://127.0.0.1:{self.port}/0"

    def _command(self) -> list[str]:
        program = shutil.which("redis-server")
        if program is None:
            raise MissingServer(NO_REDIS)
        return [
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes" if self._appendonly else "no"),
        ]


NO_REDIS = "redis-server is not installed: it is not on the PATH (apt-get install redis-server)"


@contextmanager
def running_servers(folder: Path) -> Iterator[tuple[KafkaServer, RedisServer]]:
    """A Kafka and a Redis with data of their own below `folder`, killed at the end.

    Raises:
        MissingServer: Kafka or redis-server can't be had on this machine.
    """
    with KafkaServer(folder / "kafka") as kafka, RedisServer(folder / "redis") as redis:
        yield kafka, redis


def missing_servers() -> str | None:
    """The reason why a real Kafka or Redis can't run on this machine, or None if both can."""
    try:
        kafka_jars()
    except MissingServer as missing:
        return str(missing)
    return None if shutil.which("redis-server") else NO_REDIS


def free_port() -> int:
    """A loopback port that no process uses at the moment, drawn from `PORTS`.

    Raises:
        RuntimeError: a hundred drawn ports were all in use.
    """
    for _ in range(100):
        port = _random.choice(PORTS)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise RuntimeError(f"no free port found between {PORTS.start} and {PORTS.stop}")


_COMPILED_QUICKLY = "-XX:TieredStopAtLevel=1"
"""Option of Java: without its second compiler, which spends seconds on code that then runs for hours."""


def _java(*options: str) -> list[str]:
    return ["java", *options, "-cp", f"{kafka_jars()}/*"]


def _format_data(properties: Path, cluster_id: str, users: Mapping[str, str]) -> None:
    scram = [
        option
        for name, password in users.items()
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for option in ("--add-scram", f'{mechanism}=[name="{name}",password="{password}"]')
    ]
    run = subprocess.run(
        [
            *_java("-Xmx128m", _COMPILED_QUICKLY),
            "kafka.tools.StorageTool",
            "format",
            "-t",
            cluster_id,
            "-c",
            str(properties),
            *scram,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        raise RuntimeError(f"kafka.tools.StorageTool format failed:\n{run.stdout}{run.stderr}")
