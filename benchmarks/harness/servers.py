"""A real Apache Kafka and a real redis-server as child processes, for benchmarks and integration tests.

One Kafka node in KRaft mode without containers: its jars come from Maven (`tests/integration/kafka/pom.xml`) into
`.cache/kafka` of the checkout, or from the folder that the variable KAFKA_LIBS names. Data lie in a folder that the
caller gives, so that a server can be stopped, or killed, and started again on the same data.

This file decides how the servers are started and stopped, and where their programs are found. What is skipped where
they are missing is decided by the tests.
"""



from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
POM = ROOT / "tests" / "integration" / "kafka" / "pom.xml"
CLUSTER_ID = "corrente-test-cluster0"
START_SECONDS = 60.0


class MissingServer(RuntimeError):
    """A program that is needed isn't on this machine. The text says which, and how to get it."""


class KafkaServer:
    """One Kafka node on loopback ports.

    Args:
        folder: where its configuration, log and data are kept.
        settings: further properties, by name.
    """

    def __init__(self, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.port, self.controller_port = free_port(), free_port()
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> KafkaServer:
        """Start, on the same data as before if there was a before, and wait until it takes connections."""
        properties = self.folder / "server.properties"
        if not properties.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            properties.write_text("".join(f"{name}={value}\n" for name, value in self._properties().items()))
            formatted = subprocess.run(
                [*_java("-Xmx128m"), "kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties)],
                capture_output=True,
                text=True,
                check=False,
            )
            if formatted.returncode:
                raise RuntimeError(f"kafka.tools.StorageTool format failed:\n{formatted.stdout}{formatted.stderr}")
        with (self.folder / "kafka.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_java("-Xmx512m", "-XX:+UseSerialGC"), "kafka.Kafka", str(properties)],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        _wait_for_port(self.port, self._process, self.folder / "kafka.log")
        return self

    def stop(self, *, kill: bool = False) -> None:
        """End it: in good order, or with SIGKILL."""
        _end(self._process, kill=kill)
        self._process = None

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
            **self._settings,
        }


class RedisServer:
    """One redis-server on a loopback port, without persistence unless `appendonly`."""

    def __init__(self, folder: Path, *, appendonly: bool = False) -> None:
        self.folder = folder
        self.port = free_port()
        self._appendonly = appendonly
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> RedisServer:
        """Start and wait until it takes connections."""
        program = shutil.which("redis-server")
        if program is None:
            raise MissingServer("redis-server is not installed (apt-get install redis-server)")
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                    *("--save", "", "--appendonly", "yes" if self._appendonly else "no"),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        _wait_for_port(self.port, self._process, self.folder / "redis.log")
        return self

    def stop(self, *, kill: bool = False) -> None:
        """End it: in good order, or with SIGKILL."""
        _end(self._process, kill=kill)
        self._process = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Neither answering nor refusing, like a machine behind a broken network."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


def kafka_libs() -> Path:
    """The folder with Kafka's jars; fetched with Maven where it isn't there yet.

    Raises:
        MissingServer: Java is missing, or the jars are and Maven can't fetch them.
    """
    if shutil.which("java") is None:
        raise MissingServer("Java is not installed (apt-get install openjdk-17-jre-headless)")
    if named := os.environ.get("KAFKA_LIBS"):
        if not any(Path(named).glob("kafka_*.jar")):
            raise MissingServer(f"KAFKA_LIBS={named} has no kafka_*.jar")
        return Path(named)
    libs = ROOT / ".cache" / "kafka"
    if any(libs.glob("kafka_*.jar")):
        return libs
    if shutil.which("mvn") is None or not POM.exists():
        raise MissingServer(f"Kafka's jars are not in {libs} and Maven is not installed (apt-get install maven)")
    fetched = subprocess.run(
        ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={libs}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if fetched.returncode:
        raise MissingServer(f"Maven could not fetch Kafka's jars: {fetched.stdout[-500:]}{fetched.stderr[-500:]}")
    return libs


def missing_servers() -> str | None:
    """What keeps a real Kafka and Redis from running here, or None."""
    try:
        kafka_libs()
    except MissingServer as missing:
        return str(missing)
    if shutil.which("redis-server") is None:
        return "redis-server is not installed (apt-get install redis-server)"
    return None


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def wait_until(condition: Callable[[], object], what: str, seconds: float = 30.0, every: float = 0.02) -> object:
    """Wait for a condition to hold, and return what it returned.

    Raises:
        TimeoutError: it still doesn't after `seconds`; the text is `what`.
    """
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:.0f} seconds for {what}")
        time.sleep(every)
    return found


def _java(*options: str) -> list[str]:
    return ["java", *options, "-cp", f"{kafka_libs()}/*"]


def _wait_for_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(
                f"the server ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}"
            )
        with socket.socket() as client:
            client.settimeout(1.0)
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_until(answers, f"a server on port {port}; see {log}", START_SECONDS)


def _end(process: subprocess.Popen[bytes] | None, *, kill: bool) -> None:
    if process is None or process.poll() is not None:
        return
    process.send_signal(signal.SIGCONT)  # a paused process hears nothing else
    process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
    try:
        process.wait(15.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
