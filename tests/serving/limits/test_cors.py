"""Web pages of other origins: off unless set, and headers that every answer has."""

from __future__ import annotations

import pytest

from serving.access.route_scopes import ROUTE_SCOPES
from stream.settings import WrongSetting, load_settings
from stream.versions import VersionStore
from tests.serving.awaiting import eventually
from tests.serving.conftest import Publisher, RedisServer, settings_for
from tests.serving.limits.live_server import live

FAST, SLOW = "/v1/recommendations/u", "/v1/popular"
SHOP, STRANGER = "origin: https://shop.example", "origin: https://evil.example"
PREFLIGHT = ("access-control-request-method: POST", "access-control-request-headers: authorization,content-type")


async def test_without_the_setting_no_page_gets_leave(redis_server: RedisServer, store: VersionStore) -> None:
    async with live(settings_for(redis_server)) as served, served.connected() as client:
        for target in (FAST, SLOW):
            answer = await client.ask(target, SHOP)
            assert not any(name.startswith("access-control") for name in answer.headers)
        answer = await client.ask("/v1/events/clicks", SHOP, *PREFLIGHT, method="OPTIONS")
        assert answer.status == 405
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_pages_of_the_named_origins_may_read_answers_and_no_others(
    redis_server: RedisServer, store: VersionStore
) -> None:
    Publisher(store).learn(("u", "a"), ("v", "b"))
    origins = "https://shop.example, https://m.shop.example"
    async with live(settings_for(redis_server, cors_origins=origins)) as served, served.connected() as client:

        async def ready() -> bool:
            return served.app.state.loader.served is not None

        await eventually(ready, "a version is served")
        for target in (FAST, SLOW, "/v1/nowhere", "/v1/popular?n=0"):
            answer = await client.ask(target, SHOP)
            assert answer.headers["access-control-allow-origin"] == "https://shop.example", target
            assert "retry-after" in answer.headers["access-control-expose-headers"]
            assert answer.headers["vary"] == "origin"
            assert "access-control-allow-credentials" not in answer.headers
            for other in ((STRANGER,), ("origin: null",), ()):
                answer = await client.ask(target, *other)
                assert "access-control-allow-origin" not in answer.headers
                assert answer.headers["vary"] == "origin", "a cache must not give it to the shop"
        answer = await client.ask("/v1/events/clicks", SHOP, *PREFLIGHT, method="OPTIONS")
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        assert "authorization" in answer.headers["access-control-allow-headers"]
        methods = answer.headers["access-control-allow-methods"].split(", ")
        assert methods == sorted({route.split()[0] for route in ROUTE_SCOPES}), "every method that a route has"
        answer = await client.ask("/v1/events/clicks", STRANGER, *PREFLIGHT, method="OPTIONS")
        assert answer.status == 204
        assert not any(name.startswith("access-control") for name in answer.headers)


async def test_every_answer_has_the_headers_that_browsers_go_by(redis_server: RedisServer, store: VersionStore) -> None:
    async with live(settings_for(redis_server)) as served, served.connected() as client:
        for target in (FAST, SLOW, "/health/live", "/v1/nowhere", "/docs"):
            answer = await client.ask(target)
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
        await client.send(b"no HTTP\r\n\r\n")
        answer = await client.answer()
        assert answer.status == 400
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("wrong", ["*", "shop.example", "https://shop.example/", "https://Shop.example"])
def test_what_is_no_origin_is_refused_at_the_start(wrong: str) -> None:
    with pytest.raises(WrongSetting, match="is no origin of web pages: write it as https"):
        load_settings({"CORRENTE_CORS_ORIGINS": wrong})
