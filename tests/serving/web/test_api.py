"""The API tests itself: the server answers whatever fits its own OpenAPI document, or doesn't, as the document says.

schemathesis makes requests from the document that the running server publishes, follows its links, and runs every check
that it has: no answer of status 5xx, no status, header, media type or body that isn't documented, nothing wrong
accepted, nothing right refused, no route without its key. `make api` sends many more requests and prints their seed;
`SEED=… make api` sends the same again.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.lifecycle import create_key
from stream.versions import VersionStore
from tests import plain_http
from tests.serving.answers.test_recommendations import CLICKS
from tests.serving.conftest import Broker, Publisher, RedisServer, until
from tests.serving.process.test_serve import serving

pytestmark = pytest.mark.unmeasured
HERE = Path(__file__).parent

LONG = "API_EXAMPLES" in os.environ
EXAMPLES = int(os.environ.get("API_EXAMPLES", "10"))
"""Requests of each kind for each operation; the coverage of limits and the links add more."""

LEAST_CASES = 2_000 if LONG else 500
SEED = int(os.environ.get("SEED") or (random.randrange(2**32) if LONG else 1))


@pytest.fixture(scope="module")
def shop(_redis: RedisServer) -> Iterator[tuple[RedisServer, Broker, VersionStore]]:
    """A broker, and a Redis with two versions of a model."""
    broker = Broker()
    broker.create("clicks", "purchases", "feedback")
    _redis.client.flushall()
    store = VersionStore.connect(_redis.url, "shop")
    publisher = Publisher(store)
    publisher.learn(*CLICKS[:60])
    publisher.learn(*CLICKS[60:])
    yield _redis, broker, store
    store.close()
    broker.stop()


def schemathesis(address: str, folder: Path, *, key: str = "") -> int:
    """Run every check and every phase against a server; return the number of requests."""
    report = folder / "report.json"
    environment = {
        **os.environ,
        "CORRENTE_TEST_KEY": key,
        "SCHEMATHESIS_HOOKS": "tests.serving.web.schemathesis_hooks",
        "PYTHONPATH": ":".join(sys.path),
    }
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", HERE / "schemathesis.toml", "run"]
    # Two checks among the hooks take the places of those that are left out.
    checks = ["--checks", "all", "--exclude-checks", "allow_header_conformance,use_after_free"]
    phases = [*checks, "--phases", "examples,coverage,fuzzing,stateful", "--continue-on-failure"]
    made = ["--max-examples", f"{EXAMPLES}", "--seed", f"{SEED}", "--generation-database", "none"]
    shown = ["--no-color", "--report", "json", "--report-json-path", report]
    print(f"SEED={SEED} repeats these requests")
    run = subprocess.run(
        [*command, f"{address}/openapi.json", *phases, *made, *shown],
        capture_output=True,
        text=True,
        env=environment,
        cwd=folder,
        check=False,
    )
    assert run.returncode == 0, f"seed {SEED}\n{run.stdout}{run.stderr}"
    found = json.loads(report.read_text())
    assert found["complete"], "every phase was run"
    assert {phase["status"] for phase in found["phases"].values()} == {"success"}
    assert found["operations"]["tested"] == found["operations"]["total"], "every operation was tried"
    return found["test_cases"]["generated"]


def await_readiness(address: str, key: str = "") -> None:
    def ready() -> bool:
        health = plain_http.get(f"{address}/health/ready", headers={"x-api-key": key} if key else {}).json()
        return health.get("version") and health["kafka"]["up"]  # requests may have pinned either version

    until(ready, "the server is ready")


def test_without_keys_the_server_answers_as_its_document_says(
    shop: tuple[RedisServer, Broker, VersionStore], tmp_path: Path
) -> None:
    redis_server, broker, _ = shop
    with serving(redis_server, broker, "--port", "0") as (_, address):
        await_readiness(address)
        cases = schemathesis(address, tmp_path)
        await_readiness(address)
    print(f"{cases} requests without keys")
    assert cases >= LEAST_CASES


def test_with_keys_the_server_answers_as_its_document_says(
    shop: tuple[RedisServer, Broker, VersionStore], tmp_path: Path
) -> None:
    """schemathesis leaves the key out of some requests and changes it in others, and those have to be refused."""
    redis_server, broker, store = shop
    key = create_key(
        KeyStore(store.space), scopes=["all"], owner="schemathesis", now=time.time(), caller=Caller("ada", "a test")
    ).text
    with serving(redis_server, broker, "--port", "0") as (_, address):
        await_readiness(address, key)
        cases = schemathesis(address, tmp_path, key=key)
        await_readiness(address, key)
    print(f"{cases} requests with keys")
    assert cases >= LEAST_CASES
