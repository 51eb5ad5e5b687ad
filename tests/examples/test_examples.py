"""Every example runs as its page says, against one running system: broker, Redis, worker and server."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import pytest

from simulators.system import running_system
from tests import plain_http

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SMALL = {f"CORRENTE_MODEL__MAX_{name}": "2048" for name in ("ITEMS", "VISITORS", "SESSIONS", "EVENT_IDS")}
PATIENCE_SECONDS = 60.0


class Running(NamedTuple):
    """Addresses of a running system."""

    kafka: str
    server: str

    def environment(self) -> dict[str, str]:
        return {**os.environ, "CORRENTE_KAFKA": self.kafka, "API_ADDRESS": self.server}

    def example(self, name: str, *arguments: str) -> str:
        """Output of an example that has ended without an error."""
        run = subprocess.run(
            [sys.executable, EXAMPLES / name, *arguments],
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        return run.stdout


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with running_system(settings=SMALL) as system:
        yield Running(system.kafka, system.address)


@pytest.fixture(scope="module")
def shop(running: Running) -> Iterator[str]:
    """Address of the example's own server, on a free port."""
    command = [sys.executable, EXAMPLES / "shop/shop.py", "0"]
    with subprocess.Popen(command, env=running.environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = iter(process.stderr.readline, "")
        found = next((match for line in said if (match := re.search(r"running on (http://[\d.:]+)", line))), None)
        threading.Thread(target=process.stderr.read, daemon=True).start()  # so that the pipe never fills up
        try:
            assert found, "the shop ended without an address"
            yield found[1]
        finally:
            process.terminate()


def eventually(holds: Callable[[], Any], what: str) -> Any:
    """The first true value of `holds`; learning and loading take some 50 ms."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := holds()):
        assert time.monotonic() < deadline, f"waited {PATIENCE_SECONDS} s: {what}"
        time.sleep(0.02)
    return found


def popular(address: str) -> set[str]:
    return {each["item"] for each in plain_http.get(f"{address}/v1/popular?n=100").json()["items"]}


def test_a_click_that_is_produced_to_kafka_is_learned(running: Running) -> None:
    assert re.fullmatch(r"partition 0, offset \d+\n", running.example("produce.py", "ada", "teapot"))
    eventually(lambda: "teapot" in popular(running.server), "the click of produce.py is learned")


def test_a_client_posts_a_click_and_prints_a_list(running: Running) -> None:
    clicks = [{"user": user, "item": item} for user in ("bob", "cem") for item in ("kettle", "toaster oven")]
    plain_http.post(f"{running.server}/v1/events/clicks", json=clicks).raise_for_status()
    running.example("ask.py", "a/visitor?", "kettle")
    eventually(lambda: {"kettle", "toaster oven"} <= popular(running.server), "the clicks are learned")
    said = running.example("ask.py", "a/visitor?", "kettle")
    assert re.search(r"^\d\. toaster oven  \d+\.\d{3}$", said, re.MULTILINE), said
    assert re.search(r"^from version \d+, personal$", said, re.MULTILINE), said


def test_the_page_and_its_two_calls_come_from_one_address(running: Running, shop: str) -> None:
    page = plain_http.get(shop)
    assert page.headers["content-type"].startswith("text/html")
    assert set(re.findall(r"[`\"](/v1/[\w/]+)", page.text)) == {"/v1/events/clicks", "/v1/recommendations/"}
    assert "http://" not in page.text, "nothing is loaded from elsewhere"

    body = json.dumps({"user": "dan/1", "item": "lamp"})
    posted = plain_http.post(f"{shop}/v1/events/clicks", content=body)
    assert (posted.status_code, posted.json()["accepted"]) == (202, 1)
    answer = plain_http.get(f"{shop}/v1/recommendations/{quote('dan/1', safe='')}?n=3")
    assert answer.status_code == 200, "an id may hold any character"
    assert len(answer.json()["items"]) <= 3
    wrong = plain_http.post(f"{shop}/v1/events/clicks", content="{}")
    assert (wrong.status_code, wrong.json()["status"]) == (422, 422)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/events/purchases"),
        ("POST", "/v1/recommendations/ada"),
        ("GET", "/v1/versions"),
        ("POST", "/v1/versions/1/rollback"),
        ("DELETE", "/v1/pin"),
        ("GET", "/metrics"),
    ],
)
def test_nothing_else_of_the_api_is_open_to_a_browser(shop: str, method: str, path: str) -> None:
    assert sent(shop, method, path)[0] in {404, 405}


@pytest.mark.parametrize("user", ["../versions", "%2e%2e/versions", "..%2Fversions", "..", "./../../metrics?n=2"])
def test_an_id_is_never_taken_for_a_path(shop: str, user: str) -> None:
    status, answer = sent(shop, "GET", f"/v1/recommendations/{user}")
    assert status == 404 or set(json.loads(answer)) >= {"items", "fallback"}, answer


def sent(address: str, method: str, path: str) -> tuple[int, str]:
    """Status and body. The path is sent as written: httpx would tidy it up and hide what a stranger can send."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"))
    connection.request(method, path, body="[]" if method == "POST" else None)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


class Browser:
    """A page in headless Chromium, by its DevTools protocol."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._number = 0

    async def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression in the page."""
        self._number += 1
        call = {"id": self._number, "method": "Runtime.evaluate"}
        await self._socket.send_json({**call, "params": {"expression": expression, "returnByValue": True}})
        while (answer := await self._socket.receive_json()).get("id") != self._number:
            pass
        return answer["result"]["result"].get("value")

    async def eventually(self, expression: str) -> Any:
        """The first value of an expression that is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := await self.evaluate(expression)):
            assert time.monotonic() < deadline, f"{expression} never was true; the page: {await self.evaluate(TEXT)}"
            await asyncio.sleep(0.05)
        return found


TEXT = "document.body.innerText"
BUTTONS = "[...document.querySelectorAll('#list button')]"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def debugger(tmp_path: Path) -> Iterator[str]:
    """Address of the DevTools of a Chromium with a profile of its own."""
    if CHROMIUM is None:
        pytest.skip("the page of examples/shop was not looked at: there is no Chromium")
    options = ["--headless", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={tmp_path}"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen([CHROMIUM, *options], stderr=log) as process:
        port = tmp_path / "DevToolsActivePort"
        try:
            written = eventually(lambda: port.exists() and port.read_text().splitlines(), "Chromium starts")
            yield f"http://127.0.0.1:{written[0]}"
        finally:
            process.terminate()


@pytest.fixture
def _garden(running: Running) -> None:
    """Two visitors have clicked two items, and the model knows it."""
    clicks = [{"user": user, "item": item} for user in ("eve", "fay") for item in ("spade", "<b>seeds</b>")]
    plain_http.post(f"{running.server}/v1/events/clicks", json=clicks).raise_for_status()
    eventually(lambda: "spade" in popular(running.server), "the clicks are learned")


@pytest.mark.usefixtures("_garden")
async def test_a_visitor_clicks_in_the_page_and_the_list_becomes_their_own(shop: str, debugger: str) -> None:
    async with aiohttp.ClientSession() as session:
        async with session.put(f"{debugger}/json/new?{shop}/?user=gus") as opened:
            address = (await opened.json())["webSocketDebuggerUrl"]
        async with session.ws_connect(address) as socket:
            page = Browser(socket)
            assert not (await page.eventually("document.querySelector('#said')?.innerText")).endswith("personal")
            spade = f"{BUTTONS}.find(button => button.innerText == 'spade')"
            await page.eventually(spade + " != null")
            await page.evaluate(spade + ".click()")
            await page.eventually("document.querySelector('#said').innerText.endsWith('personal')")
            names = json.loads(await page.evaluate(f"JSON.stringify({BUTTONS}.map(button => button.innerText))"))
            assert "<b>seeds</b>" in names, "names of items are text, never markup"
