"""A server outlives Kafka and Redis going away and coming back, whichever it is and however long it takes."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.harness.servers import KafkaServer, RedisServer
from benchmarks.harness.waiting import wait_until
from tests.integration.conftest import quick_to_time_out
from tests.integration.harness.server_process import running_server
from tests.integration.harness.worker_process import WorkerProcess


def test_posts_are_refused_while_kafka_is_away_and_taken_again_after(
    environment: dict[str, str], make_topics: Callable[..., None], kafka_server: KafkaServer
):
    make_topics(2)
    environment["CORRENTE_ACKNOWLEDGE_SECONDS"] = "2"
    event = {"item": "a", "user": "u", "event_id": "e"}
    with running_server(environment) as server:
        server.wait_for_kafka()
        assert server.client.post("/v1/events/clicks", json=event).status_code == 202
        kafka_server.stop(kill=True)
        try:
            wait_until(lambda: server.health()["status"] == "degraded", "the server sees that Kafka is away", 120.0)
            refused = server.client.post("/v1/events/clicks", json=[event])
            assert (refused.status_code, refused.json()["elements"][0]["status"]) == (503, "failed")
            assert server.health()["kafka"]["since"]
            assert server.client.get("/v1/popular").status_code == 200
        finally:
            kafka_server.start()
        server.wait_for_kafka()
        assert server.client.post("/v1/events/clicks", json=event).status_code == 202
        assert server.health()["kafka"] == {"up": True}


def test_lists_go_on_while_redis_hangs_and_new_versions_come_after(
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
    redis_server: RedisServer,
):
    environment["CORRENTE_REDIS"] = quick_to_time_out(environment["CORRENTE_REDIS"])
    make_topics(1)
    worker().wait_for_log("learning from here on")
    with running_server(environment) as server:
        server.wait_for_kafka()
        post = {"item": "before", "user": "u"}
        assert server.client.post("/v1/events/clicks", json=post).status_code == 202

        def popular() -> list[str]:
            return [each["item"] for each in server.client.get("/v1/popular").json()["items"]]

        wait_until(lambda: popular() == ["before"], "what was posted is recommended", 240.0)
        with redis_server.paused():
            wait_until(lambda: not server.health()["redis"]["up"], "the server sees that Redis is away", 240.0)
            assert popular() == ["before"]
            assert server.client.post("/v1/events/clicks", json=[{**post, "item": "during"}] * 2).status_code == 202
        wait_until(lambda: popular() == ["during", "before"], "what was posted meanwhile is recommended", 240.0)
        assert server.health()["status"] == "ready"
