"""The README is short, its first screen has its parts, and whatever it names exists.

Its first block is run by `tests/integration/commands/test_quickstart.py`.
"""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from stream.settings import load_settings, setting_names

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
MOST_BYTES = 6 * 1024


def block(name: str) -> str:
    """The shell block after a `tested` mark."""
    found = re.search(rf"<!-- tested: {name} -->\n```sh\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"the README has no {name}"
    return found[1]


def answers(name: str) -> list[Any]:
    """The JSON values after an `answers` mark."""
    found = re.search(rf"<!-- answers: {name} -->\n```json\n(.*?)```", README.read_text(), re.DOTALL)
    assert found, f"the README has no answers of {name}"
    values, rest = [], found[1].strip()
    while rest:
        value, end = json.JSONDecoder().raw_decode(rest)
        values.append(value)
        rest = rest[end:].strip()
    return values


def test_it_is_read_in_minutes() -> None:
    assert README.stat().st_size <= MOST_BYTES


def test_the_first_screen_has_its_parts_in_order() -> None:
    text = README.read_text()
    _, sentence, picture = text.split("\n\n")[:3]
    assert re.fullmatch(r"[^.]+[a-z]\.", sentence.replace("\n", " ")), "one sentence says what it is"
    assert picture.startswith("![")
    assert "(docs/_static/demo.svg)" in picture
    parts = ["pip install '.[embedded]'", "\ncorrente demo", "`make demo`", "`make test`", "tested: quickstart"]
    parts += ["answers: quickstart", "\n- **", "CORRENTE_KAFKA=", "](docs/index.md)", "](LICENSE)"]
    places = [text.find(part) for part in parts]
    assert -1 not in places
    assert places == sorted(places)


def test_the_block_is_one_a_person_would_type() -> None:
    lines = block("quickstart").splitlines()
    assert lines[0] == "corrente quickstart"
    assert lines[-1] == "corrente quickstart --stop"
    assert [line.split()[0] for line in lines[1:-1]] == ["curl", "sleep", "curl"]
    assert "sleep 1" in lines
    assert len(answers("quickstart")) == 2, "an answer for each curl"


def test_measured_figures_have_their_commands() -> None:
    bullets = re.findall(r"^- \*\*.*?(?=^- |\n\n)", README.read_text(), re.MULTILINE | re.DOTALL)
    assert len(bullets) == 4
    assert [each for each in bullets if not re.search(r"\d", each) or "`corrente bench " not in each] == []


@pytest.mark.parametrize("link", re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text()))
def test_every_link_leads_to_a_file(link: str) -> None:
    assert (ROOT / link).is_file(), link


def test_every_folder_of_the_map_exists() -> None:
    folders = re.findall(r"^\| `(\w+)/` ", README.read_text(), re.MULTILINE)
    assert len(folders) >= 4
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


def test_every_variable_that_is_named_is_a_setting() -> None:
    named = set(re.findall(r"CORRENTE_[A-Z_]+…?", README.read_text()))
    known = set(setting_names())
    groups = {name for name in named if name.endswith("…")}
    assert named - groups <= known
    assert {group for group in groups if not any(name.startswith(group[:-1]) for name in known)} == set()


def test_exported_variables_have_values_that_fit() -> None:
    exported = re.findall(r"^export (.*)$", README.read_text(), re.MULTILINE)
    assert exported
    for line in exported:
        load_settings(dict(each.split("=", 1) for each in shlex.split(line)))


def commands() -> list[str]:
    text = README.read_text()
    inline = re.findall(r"`(corrente [^`]+)`", text)
    in_blocks = re.findall(r"^(corrente [^#&\n]+)", text, re.MULTILINE)
    return sorted({re.sub(r"\s+", " ", each).strip() for each in inline + in_blocks})


@pytest.mark.parametrize("command", commands())
def test_every_command_and_option_that_is_named_is_there(command: str) -> None:
    from stream.cli import app

    words = shlex.split(command)[1:]
    found = get_command(app)
    context = found.make_context("corrente", words, resilient_parsing=True)
    while hasattr(found, "resolve_command") and words:
        _, found, words = found.resolve_command(context, words)
        assert found is not None, command
        context = found.make_context(command, list(words), resilient_parsing=True) if words else context
    options = {option for parameter in found.params for option in parameter.opts}
    for word in words:
        if word.startswith("--"):
            assert word in options, f"{command}: {word}"


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:`|^)make ([a-z]+)", README.read_text(), re.MULTILINE))))
def test_every_target_that_is_named_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
