"""The script of the guide to web pages does in a browser what the guide says.

Chromium opens a page of a shop whose server hands `/corrente/…` on to ours, as the guide has it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from corrente import visitor_token
from stream.access.acts import Caller
from stream.access.key_store import KeyStore
from stream.access.lifecycle import create_public_key
from stream.versions import VersionStore
from tests import plain_http
from tests.serving.conftest import Broker, Publisher, RedisServer, until
from tests.serving.process.test_serve import serving

GUIDE = Path(__file__).parents[3] / "docs" / "how-to" / "web-pages.md"
(SCRIPT,) = re.findall(r"^```js\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)

PAGE = """<!DOCTYPE html>
<title>shop</title>
<script>window.visitor = %s;</script>
<p id="list">nothing yet</p>
<script type="module">
import { recommendations, clicked } from "/page.js";
const list = document.getElementById("list");
try {
  const found = await recommendations(2);
  list.textContent = found.items.map((each) => each.item).join(" ");
  clicked(found.items[0].item, found.answer);
} catch (error) {
  list.textContent = `failed: ${error}`;
}
</script>
"""


@contextmanager
def shop_before(address: str, pages: dict[str, tuple[str, str]]) -> Iterator[str]:
    """A shop's server on loopback: its pages, and below `/corrente` ours. Gives its origin."""
    ours = urlsplit(address).netloc

    class Shop(BaseHTTPRequestHandler):
        def answer(self) -> None:
            if self.path.startswith("/corrente/"):
                self._hand_on()
                return
            kind, text = pages.get(self.path, ("text/plain", ""))
            self._send(200 if self.path in pages else 404, kind, text.encode())

        def _hand_on(self) -> None:
            connection = http.client.HTTPConnection(ours)
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            connection.request(self.command, self.path.removeprefix("/corrente"), body or None, headers)
            answer = connection.getresponse()
            self._send(answer.status, answer.headers.get("content-type", ""), answer.read())
            connection.close()

        def _send(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    for method in ("GET", "POST"):
        setattr(Shop, f"do_{method}", Shop.answer)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def dom_of(address: str, folder: Path) -> str:
    """The page as Chromium shows it once its scripts have run."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None and os.environ.get("CI") != "true":
        pytest.skip("chromium is not installed (apt-get install chromium)")
    assert chromium, "chromium is not installed: .ci/run installs it"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}"]
    run = subprocess.run(
        [chromium, *options, "--virtual-time-budget=10000", "--dump-dom", address],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return run.stdout


def test_a_page_reads_its_visitor_s_list_and_its_beacon_arrives(
    redis_server: RedisServer, broker: Broker, publisher: Publisher, store: VersionStore, tmp_path: Path
) -> None:
    publisher.learn(("ada", "teapot"), ("ada", "cups"), ("eve", "teapot"), ("eve", "cups"), ("bob", "teapot"))
    pages: dict[str, tuple[str, str]] = {"/page.js": ("text/javascript", SCRIPT)}
    with (
        serving(redis_server, broker, "--port", "0", CORRENTE_REQUIRE_KEYS="true") as (_, address),
        shop_before(address, pages) as origin,
    ):
        key = create_public_key(
            KeyStore(store.space), origins=[origin], owner="pages", now=time.time(), caller=Caller("ada", "a test")
        )
        token = visitor_token(key.record.signing_secret, model="shop", user="bob")
        headers = {"x-api-key": key.text, "x-visitor-token": token, "origin": origin}

        def ready() -> bool:
            answer = plain_http.get(f"{address}/v1/recommendations/bob", headers=headers)
            return answer.status_code == 200 and answer.json()["version"] == 1

        until(ready, "the server has the key and the version")
        visitor = json.dumps({"key": key.text, "token": token, "user": "bob"})
        pages["/"] = ("text/html", PAGE % visitor)
        shown = re.search(r'<p id="list">(.*?)</p>', dom_of(f"{origin}/", tmp_path))
        assert shown
        assert sorted(shown[1].split()) == ["cups", "teapot"]
        (record,) = broker.records("clicks", 1)
    event = json.loads(record.value())
    assert (event["user"], event["item"]) == ("bob", shown[1].split()[0])
    assert event["answer"]
    assert re.fullmatch(r"[0-9a-f-]{36}", event["event_id"])
