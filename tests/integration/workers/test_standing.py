"""Learning that stands still on a real Kafka and Redis is seen by servers; a worker of another form is refused."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.harness.waiting import wait_until
from tests.integration.harness.kafka_client import Message, delete_topic, produce
from tests.integration.harness.kafka_client import make_topics as make_kafka_topics
from tests.integration.harness.server_process import running_server
from tests.integration.harness.worker_process import WorkerProcess


def test_a_server_says_which_shard_stands_still_and_answers_lists_and_a_worker_of_another_size_takes_nothing_over(
    environment: dict[str, str], make_topics: Callable[..., None], worker: Callable[..., WorkerProcess]
) -> None:
    make_topics()
    kafka, clicks = environment["CORRENTE_KAFKA"], environment["CORRENTE_CLICKS_TOPIC"]
    letters = environment["CORRENTE_DEAD_LETTERS_TOPIC"]
    click = Message(clicks, b'{"item": "tea", "user": "ada"}')
    running = worker()
    produce(kafka, [click])
    with running_server(environment) as server:
        server.wait_for_kafka()
        wait_until(lambda: server.health()["version"], "the click is served", 60.0)
        assert server.health()["status"] == "ready"

        refused = worker(CORRENTE_MODEL__MAX_ITEMS="1024")
        assert refused.wait_for_end(60.0) == 1
        assert "CORRENTE_MODEL__MAX_ITEMS=1024: version" in refused.last_line()
        assert "CORRENTE_MODEL__MAX_ITEMS has to be 2048 or more" in refused.last_line()

        delete_topic(kafka, letters)
        produce(kafka, [Message(clicks, b"{")])
        wait_until(lambda: server.health()["stopped"], "the server sees that the shard stands still", 60.0)
        health = server.health()
        (stopped,) = health["stopped"]
        assert health["status"] == "degraded"
        assert server.client.get("/health/ready").status_code == 200
        assert (stopped["shard"], stopped["reason"]) == (0, "dead letters")
        assert f"--create --topic {letters}" in stopped["mend"]
        assert str(running.pid) in stopped["worker"]
        assert health["since"] == stopped["since"]
        produce(kafka, [click])
        wait_until(lambda: server.health()["stopped"][0]["partitions"] == [f"{clicks}-0"], "the place", 20.0)
        assert [each["item"] for each in server.client.get("/v1/popular").json()["items"]] == ["tea"]

        make_kafka_topics(kafka, {letters: 1}, {"cleanup.policy": "compact"})
        wait_until(lambda: server.health()["status"] == "ready", "learning goes on", 60.0)
        wait_until(lambda: running.logged("the partition goes on"), "the worker says so", 20.0)
