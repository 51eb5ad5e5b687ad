"""The README matches the code: its tables are made from it, its commands exist, its first lines run.

`python -m tests.test_readme` writes the generated tables anew.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from typer.main import get_command

from stream.settings import Settings, load_settings, setting_names, setting_table

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


def settings_section() -> str:
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    lines += [f"| `{row.name}` | `{cell(row.default)}` | {cell(row.description)} |" for row in setting_table()]
    return "\n".join(lines)


def metrics_section() -> str:
    from serving.metrics import Metrics
    from stream.runner.metrics import WorkerMetrics

    lines = ["| metric | kind | what it is |", "|---|---|---|"]
    for registry in (WorkerMetrics().registry, Metrics().registry):
        lines += [f"| `{name}` | {kind} | {cell(text)} |" for name, kind, text in described(registry)]
    return "\n".join(lines)


def described(registry: CollectorRegistry) -> Iterator[tuple[str, str, str]]:
    for family in registry.collect():
        suffix = "_total" if family.type == "counter" else ""
        yield family.name + suffix, family.type, family.documentation


SECTIONS: dict[str, Callable[[], str]] = {"settings": settings_section, "metrics": metrics_section}


def with_sections(text: str) -> str:
    for name, section in SECTIONS.items():
        marked = re.compile(rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert marked.search(text), f"the README has no place for {name}"
        text = marked.sub(lambda found, made=section(): f"{found[1]}{made}\n{found[2]}", text)
    return text


def block(name: str) -> str:
    """The lines after a `tested` mark, up to the next empty line."""
    found = re.search(rf"<!-- tested: {name} -->\n(.*?)(?:\n\n|\Z)", README.read_text(), re.DOTALL)
    assert found, f"the README has no {name}"
    return found[1]


def test_generated_tables_are_those_of_the_code() -> None:
    text = README.read_text()
    assert with_sections(text) == text, "make readme"


def test_routes_are_those_of_the_server() -> None:
    from serving.app import create_app

    documented = set(re.findall(r"^\| `([A-Z]+ \S+)`", block("routes"), re.MULTILINE))
    paths = create_app(Settings()).openapi()["paths"]
    served = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    assert {re.sub(r"\{\w+\}", "{}", each) for each in documented} == {
        re.sub(r"\{\w+\}", "{}", each) for each in served
    }


def test_every_variable_that_is_named_is_a_setting() -> None:
    named = set(re.findall(r"CORRENTE_[A-Z_]+…?", README.read_text()))
    known = set(setting_names())
    groups = {name for name in named if name.endswith("…")}
    assert named - groups <= known
    assert {group for group in groups if not any(name.startswith(group[:-1]) for name in known)} == set()


def test_exported_variables_have_values_that_fit() -> None:
    for line in re.findall(r"^export (.*)$", README.read_text(), re.MULTILINE):
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


if __name__ == "__main__":
    README.write_text(with_sections(README.read_text()))
