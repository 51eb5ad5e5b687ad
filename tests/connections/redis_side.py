"""Redis as people run it: real servers with passwords, users, TLS, sentinels and a cluster, and the settings for each.

    with redis_side("sentinel", folder) as redis:
        start_a_worker({**environment, **redis.environment})
        redis.failover()

Every side has a password with characters that mean something in addresses.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis

from benchmarks.harness.servers import MissingServer, ServerProcess, free_port
from benchmarks.harness.waiting import wait_until
from tests.connections.certificates import make_certificates

PASSWORD = "s#cr/t?of:th@e&%shop"
USER = "corrente"
SERVICE = "shop"
ROOT = Path(__file__).parents[2]


class RedisNode(ServerProcess):
    """One redis-server, or one sentinel, with the options of its command line."""

    log_name = "redis.log"

    def __init__(self, folder: Path, *options: str, tls: bool = False, sentinel: str = "") -> None:
        super().__init__(folder)
        self._options, self._tls, self._sentinel = options, tls, sentinel
        self.address = ("127.0.0.1", self.port)

    def _command(self) -> list[str]:
        program = shutil.which("redis-server")
        if program is None:
            raise MissingServer("redis-server is not installed")
        ports = ["--port", "0", "--tls-port", str(self.port)] if self._tls else ["--port", str(self.port)]
        shared = [*ports, "--bind", "127.0.0.1", "--dir", str(self.folder), *self._options]
        if not self._sentinel:
            return [program, *shared, "--save", "", "--repl-diskless-sync-delay", "0"]
        configuration = self.folder / "sentinel.conf"
        configuration.write_text(self._sentinel)
        return [program, str(configuration), "--sentinel", *shared]

    def client(self, **options: Any) -> redis.Redis:
        """A client of redis-py, beside all code of ours."""
        return redis.Redis(host="127.0.0.1", port=self.port, **options)


@dataclass
class RedisSide:
    """One kind of Redis.

    Attributes:
        name: of the kind.
        environment: the settings that reach it.
        wrong: settings to lay over those, with a wrong password or certificate.
        wrong_says: a part of the message that follows.
        nodes: the servers, the first master first; no sentinels.
        admin: options of clients that may do everything.
        failover: make another server the master, or another node of the cluster the owner, and wait until it is.
    """

    name: str
    environment: dict[str, str]
    wrong: dict[str, str]
    wrong_says: str
    nodes: list[RedisNode]
    admin: dict[str, Any] = field(default_factory=dict)
    failover: Callable[[], None] | None = None

    def client(self, node: int = 0) -> redis.Redis:
        """A client of one of the servers that may do everything."""
        return self.nodes[node].client(**self.admin)


@contextmanager
def redis_side(name: str, folder: Path) -> Iterator[RedisSide]:
    """The servers of one kind, in a folder of their own; they are killed at the end."""
    with ExitStack() as running:
        yield SIDES[name](folder, running)


def wrong_password(says: str = "CORRENTE_REDIS_PASSWORD") -> dict[str, Any]:
    return {"wrong": {"CORRENTE_REDIS_PASSWORD": "another"}, "wrong_says": says}


def _plain(folder: Path, running: ExitStack) -> RedisSide:
    node = running.enter_context(RedisNode(folder))
    environment = {"CORRENTE_REDIS": f"redis://127.0.0.1:{node.port}/0"}
    return RedisSide("plain", environment, nodes=[node], **wrong_password())


def _password(folder: Path, running: ExitStack) -> RedisSide:
    node = running.enter_context(RedisNode(folder, "--requirepass", PASSWORD))
    # People paste the password into the address as it is.
    environment = {"CORRENTE_REDIS": f"redis://:{PASSWORD}@127.0.0.1:{node.port}/0"}
    return RedisSide("password", environment, nodes=[node], admin={"password": PASSWORD}, **wrong_password())


def _user(folder: Path, running: ExitStack) -> RedisSide:
    node = running.enter_context(RedisNode(folder))
    with node.client() as client:
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", *documented_rights())
        client.execute_command("ACL", "SETUSER", "default", f">{PASSWORD}-of-the-default")
    secret = folder / "password"
    secret.write_text(f"{PASSWORD}\n")
    environment = {
        "CORRENTE_REDIS": f"redis://127.0.0.1:{node.port}/0",
        "CORRENTE_REDIS_USERNAME": USER,
        "CORRENTE_REDIS_PASSWORD": PASSWORD,
    }
    admin = {"password": f"{PASSWORD}-of-the-default"}
    return RedisSide("user", environment, nodes=[node], admin=admin, **wrong_password())


def _tls(folder: Path, running: ExitStack, *, clients: bool = False) -> RedisSide:
    made = make_certificates(folder / "certificates")
    files = ("--tls-ca-cert-file", str(made.ca), "--tls-cert-file", str(made.server))
    files += ("--tls-key-file", str(made.server_key), "--tls-auth-clients", "yes" if clients else "no")
    node = running.enter_context(RedisNode(folder, "--requirepass", PASSWORD, *files, tls=True))
    environment = {
        "CORRENTE_REDIS": f"rediss://127.0.0.1:{node.port}/0",
        "CORRENTE_REDIS_PASSWORD": PASSWORD,
        "CORRENTE_REDIS_CA_FILE": str(made.ca),
    }
    admin = {"password": PASSWORD, "ssl": True, "ssl_ca_certs": str(made.ca)}
    if not clients:
        wrong = {"CORRENTE_REDIS_CA_FILE": str(made.other_ca)}
        return RedisSide("tls", environment, wrong, "CORRENTE_REDIS_CA_FILE", [node], admin)
    shown = {"CORRENTE_REDIS_CERTIFICATE_FILE": str(made.client), "CORRENTE_REDIS_KEY_FILE": str(made.client_key)}
    admin |= {"ssl_certfile": str(made.client), "ssl_keyfile": str(made.client_key)}
    wrong = {"CORRENTE_REDIS_CERTIFICATE_FILE": "", "CORRENTE_REDIS_KEY_FILE": ""}
    return RedisSide("mtls", environment | shown, wrong, "CORRENTE_REDIS_CERTIFICATE_FILE", [node], admin)


def _sentinel(folder: Path, running: ExitStack) -> RedisSide:
    secured = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
    master = running.enter_context(RedisNode(folder / "one", *secured))
    replica = running.enter_context(RedisNode(folder / "two", *secured, "--replicaof", "127.0.0.1", str(master.port)))
    settings = f"""
sentinel monitor {SERVICE} 127.0.0.1 {master.port} 2
sentinel auth-pass {SERVICE} "{PASSWORD}"
sentinel down-after-milliseconds {SERVICE} 1000
sentinel failover-timeout {SERVICE} 3000
requirepass "{PASSWORD}-of-sentinels"
sentinel sentinel-pass "{PASSWORD}-of-sentinels"
"""
    sentinels = [running.enter_context(RedisNode(folder / f"sentinel-{each}", sentinel=settings)) for each in range(3)]
    environment = {
        "CORRENTE_REDIS": "redis+sentinel://"
        + ",".join(f"127.0.0.1:{each.port}" for each in sentinels)
        + f"/{SERVICE}",
        "CORRENTE_REDIS_PASSWORD": PASSWORD,
        "CORRENTE_REDIS_SENTINEL_PASSWORD": f"{PASSWORD}-of-sentinels",
    }
    side = RedisSide("sentinel", environment, nodes=[master, replica], admin={"password": PASSWORD}, **wrong_password())

    def state() -> dict[str, Any]:
        with sentinels[0].client(password=f"{PASSWORD}-of-sentinels") as client:
            return client.sentinel_master(SERVICE)

    def ready() -> bool:
        found = state()
        return found["num-slaves"] >= 1 and found["num-other-sentinels"] == len(sentinels) - 1 and synchronised()

    def synchronised() -> bool:
        port = state()["port"]
        with redis.Redis(port=port, password=PASSWORD) as client:
            info = client.info("replication")
        return info["role"] == "master" and info.get("slave0", {}).get("state") == "online"

    def failover() -> None:
        wait_until(ready, "a replica that may take over")
        before = state()["port"]

        def started() -> bool:
            with sentinels[0].client(password=f"{PASSWORD}-of-sentinels") as client:
                try:
                    return bool(client.execute_command("SENTINEL", "FAILOVER", SERVICE))
                except redis.ResponseError:  # one is under way, or the replica was not seen yet
                    return False

        wait_until(started, "the failover to start")
        # Sentinels name the new master before they have demoted the old one, which takes writes until then.
        wait_until(lambda: state()["port"] != before and synchronised(), "another master with a replica", 60.0)

    side.failover = failover
    wait_until(ready, "sentinels that know each other and the replica", 60.0)
    return side


def _cluster(folder: Path, running: ExitStack) -> RedisSide:
    secured = ("--requirepass", PASSWORD, "--masterauth", PASSWORD)
    nodes = []
    for number in range(3):
        options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-node-timeout", "2000")
        nodes.append(running.enter_context(RedisNode(folder / str(number), *secured, *options)))
    side = RedisSide(
        "cluster",
        {
            "CORRENTE_REDIS": "redis+cluster://" + ",".join(f"127.0.0.1:{each.port}" for each in nodes),
            "CORRENTE_REDIS_PASSWORD": PASSWORD,
        },
        nodes=nodes,
        admin={"password": PASSWORD},
        **wrong_password(),
    )
    for number, node in enumerate(nodes):
        with node.client(password=PASSWORD) as client:
            client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * 16_384 // 3, (number + 1) * 16_384 // 3 - 1)
            bus = nodes[0]._options[nodes[0]._options.index("--cluster-port") + 1]
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port, bus)

    def agree() -> bool:
        for number in range(3):
            with side.client(number) as client:
                if b"cluster_state:ok" not in client.execute_command("CLUSTER", "INFO"):
                    return False
                if len(client.execute_command("CLUSTER", "SLOTS")) != 3:
                    return False
        return True

    wait_until(agree, "a cluster of three nodes", 60.0)
    return side


SIDES: Mapping[str, Callable[[Path, ExitStack], RedisSide]] = {
    "plain": _plain,
    "password": _password,
    "user": _user,
    "tls": _tls,
    "mtls": functools.partial(_tls, clients=True),
    "sentinel": _sentinel,
    "cluster": _cluster,
}
"""Every kind of Redis, by name."""


def documented_rights() -> list[str]:
    """The rights of a user as the page about Redis writes them."""
    page = (ROOT / "docs" / "operations" / "redis.md").read_text()
    command = page.split("ACL SETUSER corrente on '>PASSWORD'", 1)[1].split("```", 1)[0]
    return command.replace("\\\n", " ").replace("'", "").split()


class ClusterSlot:
    """One slot of a cluster while it moves from one node to another, step by step, as `redis-cli --cluster` does it."""

    def __init__(self, side: RedisSide, slot: int) -> None:
        self.side, self.slot = side, slot
        owners = [number for number in range(3) if self._owns(number)]
        self.source = owners[0]
        self.target = (self.source + 1) % 3

    def _owns(self, number: int) -> bool:
        with self.side.client(number) as client:
            mine = client.execute_command("CLUSTER", "MYID")
            ranges = client.execute_command("CLUSTER", "SLOTS")
        return any(first <= self.slot <= last and owner[2] == mine for first, last, owner, *_ in ranges)

    def begin(self) -> None:
        """Say on both nodes that the slot moves. From now on the source redirects for keys that it has not got."""
        with self.side.client(self.source) as source, self.side.client(self.target) as target:
            source_id, target_id = (each.execute_command("CLUSTER", "MYID") for each in (source, target))
            target.execute_command("CLUSTER", "SETSLOT", self.slot, "IMPORTING", source_id)
            source.execute_command("CLUSTER", "SETSLOT", self.slot, "MIGRATING", target_id)

    def move_keys(self, most: int) -> int:
        """Move at most this number of keys, and return how many were moved."""
        with self.side.client(self.source) as source:
            keys = source.execute_command("CLUSTER", "GETKEYSINSLOT", self.slot, most)
            if keys:
                port = self.side.nodes[self.target].port
                source.execute_command("MIGRATE", "127.0.0.1", port, "", 0, 5000, "AUTH", PASSWORD, "KEYS", *keys)
        return len(keys)

    def finish(self) -> None:
        """Move the remaining keys, and make the other node the owner."""
        while self.move_keys(1000):
            pass
        with self.side.client(self.target) as target:
            owner = target.execute_command("CLUSTER", "MYID")
        for number in (self.target, self.source, 3 - self.source - self.target):
            with self.side.client(number) as client:
                client.execute_command("CLUSTER", "SETSLOT", self.slot, "NODE", owner)
