"""The site builds without a warning, and every link within it leads somewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).parents[2]
BUILT, DOCTREES = ROOT / "build" / "docs", ROOT / "build" / "doctrees"
"""The folders of `make docs`; doctrees stay between runs, so that only changed pages are read again."""


@pytest.fixture(scope="module")
def site() -> Path:
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "--jobs", "2", "-b", "html"]
    command += ["-d", str(DOCTREES), str(ROOT / "docs"), str(BUILT)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode:
        shutil.rmtree(DOCTREES)  # a page that is read again warns again
    assert built.returncode == 0, built.stderr
    return BUILT


class Links(HTMLParser):
    """Anchors and links of one page, the addresses from which a browser loads something at once, and its sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.sentences: list[str] = []
        self._inside: list[str] = []
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in {"p", "code"}:
            self._inside.append(tag)
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        self.loaded += [given[name] for name in ("src", "href") if name in given and tag in {"script", "img", "link"}]

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if self._inside == ["p"]:
            self.sentences.append(data)


@cache
def links_of(page: Path) -> Links:
    found = Links()
    found.feed(page.read_text())
    return found


def pages_of(site: Path) -> list[Path]:
    """Pages that the documentation has now: a page that was renamed leaves its HTML in the folder."""
    written = [path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")]
    return [site / page for page in written] + [site / "notebook.html"]


def test_the_site_builds_without_a_warning(site: Path) -> None:
    missing = [page.relative_to(site).as_posix() for page in pages_of(site) if not page.is_file()]
    assert missing == []


def test_every_link_within_the_site_leads_to_a_page_and_an_anchor(site: Path) -> None:
    broken, checked = [], 0
    for page in pages_of(site):
        for link in links_of(page).links:
            if urlsplit(link).scheme:
                continue
            path, anchor = urldefrag(link)
            target = (page.parent / unquote(path)).resolve() if path else page
            checked += 1
            found = target.is_file() and (
                not anchor or target.suffix != ".html" or unquote(anchor) in links_of(target).anchors
            )
            if not found:
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []
    assert checked > 500


def test_no_row_of_a_table_has_become_a_sentence(site: Path) -> None:
    """A blank line in a table ends it, and the rows behind are shown as text with bars, without a warning."""
    rows = [
        f"{page.relative_to(site)}: {text.strip()[:60]}"
        for page in pages_of(site)
        for text in links_of(page).sentences
        if " | " in text or "|\n" in text
    ]
    assert rows == []
    assert sum(len(links_of(page).sentences) for page in pages_of(site)) > 1000


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    elsewhere = {address for page in pages_of(site) for address in links_of(page).loaded if urlsplit(address).netloc}
    assert elsewhere == set()


def test_the_notebook_is_shown_with_its_outputs(site: Path) -> None:
    text = (site / "notebook.html").read_text()
    assert "what it adds" in text
    assert "<img" in text
