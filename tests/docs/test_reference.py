"""The reference is what the code says now, and pages name settings, commands and targets that exist.

`make reference` writes the generated parts anew.
"""

from __future__ import annotations

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import jsonschema
import msgspec
import pytest
from typer.main import get_command

from docs.generate import events, tables
from docs.generate.commands import found_commands
from docs.generate.http import DESCRIBED, document, field_docstrings
from docs.generate.http_examples import recorded
from docs.generate.sections import SECTIONS, names_in, pages, with_sections
from docs.generate.settings import GROUPS, group_of
from stream.cli import app
from stream.configuration.sources import FROM_FILE
from stream.settings import RENAMED, load_settings, setting_names, setting_table

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
MARKDOWN = sorted(DOCS.rglob("*.md"))


def name_of(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_generated_parts_are_those_of_the_code(page: Path) -> None:
    text = page.read_text()
    assert with_sections(text) == text, "make reference"


def test_every_generated_part_is_on_one_page() -> None:
    shown = [name for page in pages() for name in names_in(page.read_text())]
    assert sorted(shown) == sorted(SECTIONS)


def test_every_setting_is_in_one_group() -> None:
    assert {group_of(row.name) for row in setting_table()} == set(GROUPS)


def test_every_command_is_listed() -> None:
    listed = re.findall(r"^## `(corrente [^`]+)`", (DOCS / "reference" / "commands.md").read_text(), re.MULTILINE)
    assert listed == [name for name, _ in found_commands()]
    assert {name.split()[1] for name in listed} == set(get_command(app).list_commands(None))


def test_every_table_is_described_by_files_that_name_it() -> None:
    for name, description in tables.DESCRIPTIONS.items():
        for file in description.files:
            source = (ROOT / "stream" / "models" / file).read_text()
            assert re.search(rf"\b{name}\b", source), f"{file} doesn't mention the table {name}"


def test_every_description_is_of_a_field_that_is_there() -> None:
    shapes = document()["components"]["schemas"]
    fields = {f"{name}.{field}" for name, shape in shapes.items() for field in shape.get("properties", ())}
    parameters = {
        parameter["name"]
        for methods in document()["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
    }
    assert set(DESCRIBED) <= fields | parameters
    assert set(events.FIELDS) == {field for event in ("Click", "Purchase", "Feedback") for field in properties(event)}


def properties(shape: str) -> dict:
    return document()["components"]["schemas"][shape]["properties"]


@pytest.mark.parametrize("example", recorded(), ids=lambda each: f"{each['method']} {each['path']} {each['status']}")
def test_a_recorded_answer_has_the_documented_status_and_shape(example: dict) -> None:
    if example["status"] >= 400:
        schema = {"$ref": "#/components/schemas/ProblemDetails"}
    else:
        method, path = example["route"].split()
        response = document()["paths"][path][method.lower()]["responses"][str(example["status"])]
        schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    jsonschema.validate(example["answer"], {**schema, "components": document()["components"]})


def test_every_route_has_an_example() -> None:
    routes = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert {each["route"] for each in recorded()} - {""} == routes


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_every_variable_that_is_named_is_a_setting(page: Path) -> None:
    named = set(re.findall(r"\bCORRENTE_[A-Z_]+…?", page.read_text()))
    known = set(setting_names()) | set(RENAMED)
    known |= {name + FROM_FILE for name in setting_names()}
    beginnings = {name for name in named if name.endswith(("…", "_"))}
    assert named - beginnings <= known
    assert {each for each in beginnings if not any(name.startswith(each.rstrip("…")) for name in known)} == set()


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_exported_variables_have_values_that_fit(page: Path, tmp_path: Path) -> None:
    for name in re.findall(r"\$PWD/([\w.]+)", page.read_text()):  # a key that the page has its reader keep
        (tmp_path / name).write_text("corrente_" + 64 * "0")
    for block in re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        lines = re.findall(r"^ *export (CORRENTE_.*?)(?: +#.*)?$", block, re.MULTILINE)
        words = [each.replace("$PWD", str(tmp_path)) for line in lines for each in shlex.split(line)]
        load_settings(dict(each.split("=", 1) for each in words))


def commands_in(page: Path) -> list[str]:
    text = page.read_text()
    inline = re.findall(r"`(corrente [^`<]+)`", text)
    in_blocks = re.findall(r"^ *(corrente [^#&|>\n]+)", text, re.MULTILINE)
    return sorted({re.sub(r"\s+", " ", each).strip() for each in inline + in_blocks})


COMMANDS = sorted({command for page in MARKDOWN for command in commands_in(page)})


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_that_is_named_is_there(command: str) -> None:
    words = shlex.split(command)[1:]
    found = get_command(app)
    context = found.make_context("corrente", words, resilient_parsing=True)
    while hasattr(found, "resolve_command") and words and words[0].islower():
        _, found, words = found.resolve_command(context, words)
        assert found is not None, command
        context = found.make_context(command, list(words), resilient_parsing=True) if words else context
    options = {option for parameter in found.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in options | {"--help"}, f"{command}: {word}"


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_every_target_that_is_named_is_there(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"(?:`|^)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


NAMED_FILE = re.compile(r"`((?:stream|serving|simulators|benchmarks|tests|docs)/[\w/.-]*\w)(?:::(\w+))?`")


@cache
def functions_in(path: Path) -> frozenset[str]:
    """Functions and methods of a file, wherever they are defined in it."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("page", MARKDOWN, ids=name_of)
def test_every_file_that_is_named_is_there(page: Path) -> None:
    for path, name in NAMED_FILE.findall(page.read_text()):
        assert (ROOT / path).exists(), path
        if name:
            assert name in functions_in(ROOT / path), f"{path} has no {name}"


def test_the_door_of_the_generators_lists_every_file() -> None:
    folder = DOCS / "generate"
    door = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
    for path in folder.glob("*.py"):
        if path.name != "__init__.py":
            assert f"`{path.stem}`" in door
            assert "This file decides" in " ".join(ast.get_docstring(ast.parse(path.read_text())).split()), path.name


def test_structs_that_a_mapping_makes_at_run_time_are_no_shapes_of_the_api() -> None:
    made = msgspec.defstruct("Made", [("field", int)], module="stream.events")
    field_docstrings.cache_clear()
    described = field_docstrings()
    assert "Accepted.event_ids" in described
    assert f"{made.__name__}.field" not in described
