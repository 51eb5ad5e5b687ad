"""The tutorial and the how-to guides do what they say: every block is typed, in order, in one shell and one empty
folder for a page.

Pages about an own Kafka and Redis are typed on real ones, in `tests/integration/commands/test_guides.py`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.guide_page import Block, Output, WrongPage, blocks_of
from tests.docs.terminal import Terminal
from tests.integration.commands.test_guides import ON_REAL_SERVERS, ON_SECURED_SERVERS

DOCS = Path(__file__).parents[2] / "docs"
GUIDES = [DOCS / "tutorial.md", *sorted(path for path in (DOCS / "how-to").glob("*.md") if path.name != "index.md")]
OWN_SOURCE = DOCS / "how-to" / "add-a-source.md"
TYPED_WITH_KEYS = (
    "catalogue-and-filters.md",
    "explain-a-list.md",
    "lists-for-each-place.md",
    "replay-a-history.md",
    "roll-back.md",
)
"""Guides that are typed on a server that asks for keys."""
HERE = [page for page in GUIDES if page.name not in ON_REAL_SERVERS + ON_SECURED_SERVERS and page != OWN_SOURCE]


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_every_fence_of_a_guide_is_typed_or_says_what_it_is(page: Path) -> None:
    assert blocks_of(page)


def test_every_page_on_real_servers_is_a_guide() -> None:
    assert {*ON_REAL_SERVERS, *ON_SECURED_SERVERS} <= {page.name for page in GUIDES}


def test_the_index_lists_every_guide_with_its_goal() -> None:
    index = (DOCS / "how-to" / "index.md").read_text()
    listed = re.findall(r"^\| \[[^\]]+\]\(([\w-]+\.md)\) \| \S.*\|$", index, re.MULTILINE)
    assert sorted(listed) == [page.name for page in GUIDES if page.parent.name == "how-to"]
    for page in GUIDES[1:]:
        assert re.search(r"^\*\*Goal:\*\* .+\n(.+\n)*\n\*\*You need:\*\* ", page.read_text(), re.MULTILINE), page.name


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.stem)
def test_a_guide_that_waits_for_a_log_line_takes_a_log_that_is_not_there_yet_as_empty(page: Path) -> None:
    loops = [line for block in blocks_of(page) for line in block.text.splitlines() if "until grep" in line]
    assert [line for line in loops if "until grep -qs " not in line] == []


@pytest.mark.slow
@pytest.mark.unmeasured
@pytest.mark.parametrize("page", HERE, ids=lambda page: page.stem)
def test_a_guide_works_as_typed(page: Path, tmp_path: Path) -> None:
    """Half of the guides about lists and events are typed on a server with keys, as the guide about keys says."""
    with Terminal(tmp_path) as terminal:
        exports = with_keys(terminal, page) if page.name in TYPED_WITH_KEYS else None
        terminal.type_page(page, exports)


def with_keys(terminal: Terminal, page: Path) -> dict[str, str]:
    """What is typed before the second block of a page, so that the system of its first one asks for keys."""
    (shell,) = [block.text for block in blocks_of(DOCS / "how-to" / "keys.md") if block.name == "shell"]
    script = terminal.folder / "keys.sh"
    create = f"corrente keys create --scope all --owner operators > {terminal.key_file.name}"
    script.write_text(f'eval "$(corrente quickstart --env)"\n{create}\nsleep 1\n{shell}')
    terminal.waits_with_key = True
    return {blocks_of(page)[1].name: f"source '{script}' </dev/null >/dev/null 2>&1"}


def page_of(folder: Path, text: str) -> Path:
    path = folder / "page.md"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no fence at all\n", "has none"),
        ("```sh\necho\n```\n", "page.md:1: the fence has no mark"),
        ("<!-- not typed: slow -->\n```sh\necho\n```\n", "has none"),
        ("<!-- not typed: -->\n```sh\necho\n```\n", "page.md:2: the fence has no mark"),
        ("<!-- tested: a -->\n```sh\necho\n```\n\n<!-- tested: a -->\n```sh\necho\n```\n", "page.md:7: a typed block"),
        ("<!-- output -->\n```text\na\n```\n", "page.md:2: an output follows"),
        (
            "<!-- tested: a -->\n```sh\necho\n```\n\n<!-- output; changes -->\n```text\n\n```\n",
            "doesn't vary like this",
        ),
    ],
    ids=["no fence", "no mark", "nothing typed", "no reason", "one name twice", "output of nothing", "unknown rule"],
)
def test_a_page_that_would_not_be_tested_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(WrongPage, match=re.escape(reason)):
        blocks_of(page_of(tmp_path, text))


def test_what_one_block_sets_holds_in_the_next(tmp_path: Path) -> None:
    page = page_of(
        tmp_path, "<!-- tested: a -->\n```sh\nword=tea\n```\n\n<!-- tested: b -->\n```sh\necho $word > c\n```\n"
    )
    with Terminal(tmp_path) as terminal:
        terminal.type_page(page)
    assert (tmp_path / "c").read_text() == "tea\n"


def test_a_command_that_fails_fails_its_block_and_is_shown(tmp_path: Path) -> None:
    page = page_of(tmp_path, "<!-- tested: a -->\n```sh\necho before\nls nothing-here\necho after\n```\n")
    with Terminal(tmp_path) as terminal, pytest.raises(AssertionError, match=r"page\.md:2 \(a\) failed") as failed:
        terminal.type_page(page)
    assert "nothing-here" in str(failed.value)
    assert "\nafter\n" not in str(failed.value).split("echo after", 1)[1]


def test_another_output_than_the_shown_one_fails(tmp_path: Path) -> None:
    block = "<!-- tested: a -->\n```sh\necho tea\n```\n\n"
    page = page_of(tmp_path, block + "<!-- output -->\n```text\ncups\n```\n")
    with Terminal(tmp_path) as terminal, pytest.raises(AssertionError, match="another output"):
        terminal.type_page(page)


def test_a_program_that_a_page_leaves_running_fails_it_and_is_ended(tmp_path: Path) -> None:
    page = page_of(tmp_path, "<!-- tested: a -->\n```sh\nsleep 3600 &\n```\n")
    with Terminal(tmp_path) as terminal, pytest.raises(AssertionError, match="leaves programs running"):
        terminal.type_page(page, ending_seconds=0.0)
    assert terminal.left_running() == []


@pytest.mark.parametrize(
    ("rule", "shown", "got", "same"),
    [
        ("", "a  b\n", "a b\n", True),
        ("", "a ... d\n", "a b c d\n", True),
        ("", "version 3\n", "version 4\n", False),
        ("numbers vary", "3 of 2026-01-01T10:00:00 9f3c0a1b\n", "14 of 2027-12-01T01:01:01 fadecafe\n", True),
        ("numbers vary", "age 90 s\n", "age 2 min\n", True),
        ("numbers vary", "version 3\n", "version none\n", False),
        ("varies: version", '{"version": 3, "items": ["a"]}', '{"version":9,"items":["a"]}', True),
        ("varies: version", '{"version": 3, "items": ["a"]}', '{"version":9,"items":["b"]}', False),
        ("varies: version", '{"version": 3}', '{"version":null}', False),
        ("varies: version", '{"version": 3}', '{"version":9,"more":1}', False),
    ],
)
def test_an_output_is_the_shown_one_if_what_may_not_vary_is_equal(rule: str, shown: str, got: str, same: bool) -> None:
    assert (Output(shown, rule).difference(got) is None) is same


def test_a_block_has_its_place_and_its_output(tmp_path: Path) -> None:
    text = "# Title\n\n<!-- tested: a -->\n```sh\necho 1\n```\n\n<!-- output -->\n```text\n1\n```\n"
    assert blocks_of(page_of(tmp_path, text)) == [Block("a", 4, "echo 1\n", Output("1\n", ""))]
