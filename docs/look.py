"""`python -m docs.look SITE PICTURES [PAGE...]`: pictures of the built pages, as a phone and a desktop show them.

Each page is opened in headless Chromium at the width of a phone (390 pixels) and of a desktop (1280), light and dark
side by side. A page that is wider than its screen is reported, and the command ends with 1: tables and blocks of code
have to scroll inside themselves. A window of Chromium has a least width, so the pages are shown in frames.

This file decides the screens, and that a page wider than its screen is a failure.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

SCREENS: Mapping[str, tuple[int, int]] = {"phone": (390, 844), "desktop": (1280, 900)}
"""Width and height of a screen, in pixels."""
TALLEST = 5000
"""Height at which a picture is cut, in pixels."""
PATIENCE_SECONDS = 120

FRAMES = """<!doctype html><meta charset="utf-8"><title>look</title>
<style>
body {{ margin: 0; display: flex; gap: 8px; background: #888; align-items: start }}
iframe {{ border: 0; flex: none }}
</style>
<body><script>
for (const theme of ["light", "dark"]) {{
  const frame = document.createElement("iframe");
  frame.width = {width}; frame.height = {height};
  frame.onload = () => frame.contentDocument.body.dataset.theme = theme;
  frame.src = "/{page}";
  document.body.append(frame);
}}
</script>
"""
"""A page in a light and in a dark frame of one size."""

MEASURE = """<!doctype html><meta charset="utf-8"><title>look</title><body><script>
const found = [], left = {pages};
const frame = document.createElement("iframe");
function next() {{
  if (!left.length) {{ document.title = JSON.stringify(found); return; }}
  const [page, screen, width, height] = left.shift();
  frame.width = width; frame.height = height;
  frame.onload = () => {{
    const inside = frame.contentDocument;
    const wide = [...inside.querySelectorAll("article *")].filter(each => {{
      for (let box = each; box && box.tagName !== "ARTICLE"; box = box.parentElement)
        if (frame.contentWindow.getComputedStyle(box).overflowX !== "visible") return false;
      return each.getBoundingClientRect().right > width + 1;
    }}).map(each => each.tagName + ": " + each.textContent.trim().slice(0, 60));
    const whole = inside.documentElement;
    found.push({{page, screen, width: whole.scrollWidth, height: whole.scrollHeight, wide: wide.slice(0, 3)}});
    next();
  }};
  frame.src = "/" + page + "?screen=" + screen;
}}
document.body.append(frame);
next();
</script>
"""
"""Every page on every screen, one after the other; the measures are left in the title."""


class Look(NamedTuple):
    """One page on one screen."""

    page: str
    screen: str
    width: int
    height: int
    wide: list[str]


class Pages(SimpleHTTPRequestHandler):
    """The site; `PAGE?frame=WIDTHxHEIGHT`, the page in two frames of this size; and `?measure`, the measuring page."""

    def __init__(self, *arguments: Any, to_measure: list[Any], **named: Any) -> None:
        self.to_measure = to_measure
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        framed = re.fullmatch(r"/(?P<page>.*)\?frame=(?P<width>\d+)x(?P<height>\d+)", self.path)
        if framed is not None:
            self._send(FRAMES.format(**framed.groupdict()))
        elif self.path == "/?measure":
            self._send(MEASURE.format(pages=json.dumps(self.to_measure)))
        else:
            super().do_GET()

    def _send(self, page: str) -> None:
        body = page.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Requests are not logged."""


@contextmanager
def served(site: Path, to_measure: list[Any]) -> Iterator[str]:
    """Serve the site on a free port; the value is its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Pages, directory=str(site), to_measure=to_measure))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()


class Browser:
    """Headless Chromium, started once for each picture, with a profile of its own."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium") or shutil.which("google-chrome")
        if program is None:
            raise SystemExit("Chromium is needed: apt-get install chromium")
        self._command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        self._command += [f"--user-data-dir={profile}"]

    def measure(self, address: str) -> list[Look]:
        """Widths and heights of all pages, which the measuring page leaves in its title."""
        title = re.search(r"<title>(\[.*?\])</title>", self._run("--virtual-time-budget=100000", "--dump-dom", address))
        if title is None:
            raise SystemExit(f"{address}: the pages did not load")
        return [Look(**each) for each in json.loads(html.unescape(title[1]))]

    def picture(self, address: str, file: Path, width: int, height: int) -> None:
        self._run("--virtual-time-budget=4000", f"--screenshot={file}", f"--window-size={width},{height}", address)

    def _run(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603  the browser, by an argument list
            [*self._command, *arguments], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
        )
        return done.stdout


def look(site: Path, pictures: Path, pages: list[str]) -> Iterator[Look]:
    """Measure these pages (paths in the site), and take a picture of each on each screen."""
    pictures.mkdir(parents=True, exist_ok=True)
    to_measure = [(page, screen, *size) for page in pages for screen, size in SCREENS.items()]
    with served(site, to_measure) as address, tempfile.TemporaryDirectory(prefix="look-") as profile:
        browser = Browser(Path(profile))
        for each in browser.measure(f"{address}/?measure"):
            width, tall = SCREENS[each.screen][0], min(TALLEST, each.height)
            file = pictures / f"{each.page.removesuffix('.html').replace('/', '.')}.{each.screen}.png"
            browser.picture(f"{address}/{each.page}?frame={width}x{tall}", file, 2 * width + 8, tall)
            yield each


def main() -> None:
    site, pictures = Path(sys.argv[1]), Path(sys.argv[2])
    leave_out = {"genindex.html", "search.html"}
    everything = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    pages = sys.argv[3:] or [page for page in everything if page not in leave_out and not page.startswith("_")]
    failed = False
    for each in look(site, pictures, pages):
        width = SCREENS[each.screen][0]
        too_wide = each.width > width or bool(each.wide)
        failed |= too_wide
        line = [
            f"{'TOO WIDE' if too_wide else 'fits':8} {each.page} {each.screen} {each.width} x {each.height}",
            *each.wide,
        ]
        print(*line, sep="\n         ")  # noqa: T201
    print(f"pictures are in {pictures}")  # noqa: T201
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
