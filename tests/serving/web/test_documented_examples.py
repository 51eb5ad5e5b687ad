"""The examples of the HTTP reference are what a running application answers.

With RECORD_EXAMPLES=1 they are written instead of compared (`make reference-examples`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from importlib.metadata import version as version_of

import httpx

from docs.generate.http_examples import HEADERS, RECORDED, SITUATIONS, recorded, shape, shortened
from tests.serving.awaiting import eventually, kafka_up, served_version
from tests.serving.conftest import Broker, Publisher, RedisServer, running, settings_for

FIRST = [("ada", "teapot"), ("ada", "cups"), ("eve", "teapot"), ("eve", "cups"), ("eve", "tea"), ("bob", "teapot")]
SECOND = [("joe", "spade"), ("joe", "seeds"), ("ida", "teapot"), ("ida", "tea"), ("ida", "cups")]
BASKET = [("ida", "tea"), ("ida", "cups")]


def publish(publisher: Publisher, clicks: list[tuple[str, str]], purchases: Sequence[tuple[str, str]] = ()) -> None:
    """Publish as a worker does: under the version of the program."""
    publisher.apply(*clicks)
    publisher.apply(*purchases, topic="purchases")
    publisher.store.publish(
        publisher.claim,
        publisher.shard.checkpoint(),
        settings=publisher.model.model_dump(),
        code_version=version_of("corrente"),
        now=time.time(),
    )


async def answers_in(situation: str, client: httpx.AsyncClient) -> list[dict]:
    found = []
    for request in SITUATIONS[situation]:
        content = request.body if isinstance(request.body, str | None) else json.dumps(request.body)
        headers = {"content-type": "application/json"} if request.json else {}
        answer = await client.request(request.method, request.path, content=content, headers=headers)
        if request.path == "/metrics":
            lines = [line for line in answer.text.splitlines() if "corrente_answers" in line or "up{" in line]
            shown = [line for line in lines if "_created" not in line]
        elif answer.headers["content-type"].startswith("text/html"):
            shown = [line for line in answer.text.splitlines() if line.startswith(("<h1", "<h2"))]
        else:
            shown = shortened(answer.json())
        found.append(
            {
                **request._asdict(),
                "body": request.body if request.shown is None else None,
                "status": answer.status_code,
                "headers": {name: answer.headers[name] for name in HEADERS if name in answer.headers},
                "answer": shown,
            }
        )
    return found


async def test_examples_are_what_a_running_application_answers(
    redis_server: RedisServer, broker: Broker, publisher: Publisher
) -> None:
    publish(publisher, FIRST)
    publish(publisher, SECOND, BASKET)
    found = []
    settings = settings_for(redis_server, broker).model_copy(update={"acknowledge_seconds": 1.0})
    async with running(settings) as (app, client):
        await served_version(client, 2)
        await kafka_up(client)
        found += await answers_in("two versions are published", client)

        publisher.store.move_alias("pinned", 2, who="", why="", now=time.time())  # so that the next isn't loaded yet
        before = set(redis_server.client.keys("*:chunk:*"))
        publish(publisher, [("joe", "gloves")])
        for key in set(redis_server.client.keys("*:chunk:*")) - before:
            redis_server.client.set(key, b"not what was published")
        found += await answers_in("the newest version is damaged", client)

        broker.stop()
        found += await answers_in("Kafka is away", client)
        redis_server.stop()

        async def notices() -> bool:
            return not (await client.get("/health/ready")).json()["redis"]["up"]

        await eventually(notices, "the server notices that Redis is away")
        found += await answers_in("Redis is away", client)
        app.state.responder = None
        found += await answers_in("an error in the server itself", client)

    if os.environ.get("RECORD_EXAMPLES"):
        RECORDED.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    for now, then in zip(found, recorded(), strict=True):
        failed = now["status"] in {405, 409} or now["status"] >= 500
        now_shape = {**now, "answer": shape(now["answer"], failed=failed)}
        then_shape = {**then, "answer": shape(then["answer"], failed=failed)}
        assert now_shape == then_shape, f"{now['method']} {now['path']}: make reference-examples, and look at the pages"
