"""The worker's HTTP answers: alive while it answers, ready while no partition stands still."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from prometheus_client import CollectorRegistry, Gauge

from stream.health.endpoints import serve
from stream.health.standing import Standing
from stream.kafka.refusals import CannotLearn
from stream.settings import load_settings


def test_probes_are_told_what_stands_still_since_when_and_what_mends_it() -> None:
    registry = CollectorRegistry()
    Gauge("corrente_worker_something", "Something.", registry=registry).set(7)
    stopped: dict[int, Standing] = {}
    found: list[Mapping[int, Standing] | None] = [None]
    port = serve(0, registry, lambda: found[0])

    def get(path: str) -> bytes:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.read()

    assert json.loads(get("/health/live")) == {"status": "live"}
    assert b"corrente_worker_something 7.0" in get("/metrics")
    with pytest.raises(HTTPError, match="503"):
        get("/health/ready")
    found[0] = stopped
    assert json.loads(get("/health/ready")) == {"status": "ready", "stopped": []}
    stopped[3] = Standing(1_700_000_000.0, "dead letters", "the topic is missing", "kafka-topics.sh --create …")
    with pytest.raises(HTTPError) as refused:
        get("/health/ready")
    assert refused.value.code == 503
    assert json.loads(refused.value.read()) == {
        "status": "not ready",
        "stopped": [
            {
                "partition": 3,
                "since": "2023-11-14T22:13:20+00:00",
                "reason": "dead letters",
                "detail": "the topic is missing",
                "mend": "kafka-topics.sh --create …",
            }
        ],
    }


def test_only_the_address_of_the_setting_answers() -> None:
    port = serve(0, CollectorRegistry(), dict, "127.0.0.2")
    with urlopen(f"http://127.0.0.2:{port}/health/live", timeout=30) as answer:
        assert answer.status == 200
    with pytest.raises(URLError, match="refused"):
        urlopen(f"http://127.0.0.1:{port}/health/live", timeout=30)


def test_metrics_ask_for_their_token_and_health_does_not() -> None:
    port = serve(0, CollectorRegistry(), dict, token="a token of a test")
    address = f"http://127.0.0.1:{port}"
    for path in ("/health/live", "/health/ready"):
        with urlopen(address + path, timeout=30) as answer:
            assert answer.status == 200
    right = Request(f"{address}/metrics", headers={"Authorization": "Bearer a token of a test"})
    with urlopen(right, timeout=30) as answer:
        assert answer.status == 200
    for headers in ({}, {"Authorization": "Bearer another"}, {"Authorization": "a token of a test"}):
        with pytest.raises(HTTPError) as refused:
            urlopen(Request(f"{address}/metrics", headers=headers), timeout=30)
        assert refused.value.code == 401
        assert refused.value.headers["WWW-Authenticate"] == "Bearer"
        assert "CORRENTE_METRICS_TOKEN" in refused.value.read().decode()


def test_metrics_bind_loopback_unless_the_setting_says_otherwise() -> None:
    host = load_settings({}).metrics_host
    port = serve(0, CollectorRegistry(), dict, host)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        assert answer.status == 200
    with pytest.raises(URLError, match="refused"):
        urlopen(f"http://127.0.0.2:{port}/metrics", timeout=30)


def test_an_ipv6_address_is_bound() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    port = serve(0, CollectorRegistry(), dict, "::1")
    with urlopen(f"http://[::1]:{port}/health/live", timeout=30) as answer:
        assert answer.status == 200


def test_an_address_of_another_machine_and_a_port_in_use_are_refused_with_the_settings_to_change() -> None:
    with pytest.raises(CannotLearn, match=r"on 192\.0\.2\.1, port 0: .*assign requested.*CORRENTE_METRICS_HOST"):
        serve(0, CollectorRegistry(), dict, "192.0.2.1")
    port = serve(0, CollectorRegistry(), dict, "127.0.0.1")
    with pytest.raises(CannotLearn, match=rf"port {port}: .*in use.*CORRENTE_METRICS_PORT to a free port"):
        serve(port, CollectorRegistry(), dict, "127.0.0.1")


@pytest.mark.unmeasured
def test_a_port_that_is_taken_ends_a_worker_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = {"CORRENTE_METRICS_PORT": str(port), "CORRENTE_METRICS_HOST": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-m", "stream.cli", "worker"],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"metrics can't be served on 127.0.0.1, port {port}: [Errno 98] Address already in use. Set "
        "CORRENTE_METRICS_HOST to an address of this machine and CORRENTE_METRICS_PORT to a free port\n"
    )
