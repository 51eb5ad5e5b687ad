"""Files that a stranger looks for first: licence, metadata, continuous integration, hooks, templates, documents."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import coverage
import jsonschema
import pytest
import yaml
from hypothesis import given, strategies
from trove_classifiers import classifiers as known_classifiers

from tests.conftest import MEASURES_CHILDREN

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
MAKEFILE = (ROOT / "Makefile").read_text()
GITHUB = ROOT / ".github/workflows/ci.yml"
GITLAB = ROOT / ".gitlab-ci.yml"
HOOKS = ROOT / ".pre-commit-config.yaml"
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
DOCUMENTS = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "examples/README.md")
CATEGORIES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def schema(name: str) -> dict[str, Any]:
    """A schema that check-jsonschema ships. The package is not imported: it needs another click than typer."""
    (file,) = [each for each in importlib.metadata.files("check-jsonschema") or () if each.name == f"{name}.json"]
    return json.loads(Path(str(file.locate())).read_text(encoding="utf-8"))


def read(path: Path) -> Any:
    """A YAML file as its reader sees it. A bare `on` is true in YAML 1.1, which PyYAML reads; here it is a key."""
    found = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in found.items()}


def check(path: Path, name: str) -> None:
    shape = schema(name)
    jsonschema.validators.validator_for(shape)(shape).validate(read(path))


def lint_commands() -> list[str]:
    """Commands of `make lint`, without the folder of programs."""
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    return [line.strip().removeprefix("$(BIN)/") for line in recipe[1].splitlines()]


# ---- licence and metadata


def test_the_licence_is_apache_2_and_says_whose_work_it_is() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert text.lstrip().startswith("Apache License\n")
    assert "END OF TERMS AND CONDITIONS" in text
    assert "Copyright 2026 The Corrente authors" in text
    assert "[yyyy]" not in text
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert PROJECT["project"]["license-files"] == ["LICENSE"]
    assert PROJECT["project"]["authors"] == [{"name": "The Corrente authors"}]


def test_every_classifier_exists() -> None:
    given = PROJECT["project"]["classifiers"]
    assert set(given) <= set(known_classifiers)
    assert given == sorted(given)
    assert not [each for each in given if each.startswith("License ::")], "the licence expression says it"


def test_only_python_versions_are_claimed_that_tests_run_on() -> None:
    prefix = "Programming Language :: Python :: "
    claimed = {each.removeprefix(prefix) for each in PROJECT["project"]["classifiers"] if each.startswith(prefix)}
    claimed -= {"3 :: Only"}
    images = [read(GITHUB)["jobs"]["test"]["container"], read(GITLAB)["test"]["image"]]
    assert claimed == {image.partition(":")[2].partition("-")[0] for image in images}
    assert PROJECT["project"]["requires-python"] == f">={min(claimed)}"


# ---- continuous integration


def test_the_github_workflow_is_valid_and_leaves_everything_to_one_script() -> None:
    check(GITHUB, "github-workflows")
    workflow = read(GITHUB)
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    assert "permissions" not in job
    steps = job["steps"]
    assert [step["run"].split()[-1] for step in steps if "run" in step] == [".ci/run"]
    (checkout,) = [step for step in steps if step.get("uses", "").startswith("actions/checkout@")]
    assert checkout["with"]["persist-credentials"] is False
    assert "secrets." not in GITHUB.read_text()


def test_the_gitlab_pipeline_is_valid_and_leaves_everything_to_one_script() -> None:
    check(GITLAB, "gitlab-ci")
    assert read(GITLAB)["test"]["script"] == [".ci/run"]


def test_both_keep_what_pip_and_maven_download() -> None:
    """The cache is renewed with the lock and with the list of jars; both folders lie in one that git ignores."""
    named = ["requirements-dev.lock", "benchmarks/harness/kafka/pom.xml"]
    assert all((ROOT / name).exists() for name in named)
    assert ".cache/\n" in (ROOT / ".gitignore").read_text()
    (cache,) = [step["with"] for step in read(GITHUB)["jobs"]["test"]["steps"] if "cache@" in step.get("uses", "")]
    assert cache["path"] == ".cache"
    assert re.findall(r"'([^']+)'", cache["key"]) == named
    kept = read(GITLAB)["test"]["cache"]
    assert (kept["paths"], kept["key"]["files"]) == ([".cache/"], named)
    assert 'PIP_CACHE_DIR="$PWD/.cache/pip"' in GITHUB.read_text()
    assert read(GITLAB)["test"]["variables"]["PIP_CACHE_DIR"] == "$CI_PROJECT_DIR/.cache/pip"


def test_the_script_is_there_and_may_be_run() -> None:
    assert (ROOT / ".ci/run").stat().st_mode & 0o111


# ---- hooks


def test_hooks_are_valid_and_download_nothing() -> None:
    command = [sys.executable, "-m", "pre_commit", "validate-config", str(HOOKS)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    for repository in read(HOOKS)["repos"]:
        assert repository["repo"] == "local"
        for hook in repository["hooks"]:
            assert hook["language"] == "system"
            assert "additional_dependencies" not in hook
            assert hook["entry"].startswith(".venv/bin/")


def test_hooks_run_what_make_lint_runs() -> None:
    entries = [hook["entry"] for repository in read(HOOKS)["repos"] for hook in repository["hooks"]]
    linted = [entry.removeprefix(".venv/bin/").removesuffix(" --force-exclude") for entry in entries]
    assert linted[:-1] == [command.removesuffix(" .") for command in lint_commands()]
    assert (ROOT / linted[-1].split()[-1]).exists()


# ---- templates


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.stem)
def test_a_form_for_issues_is_valid(form: Path) -> None:
    check(form, "github-issue-forms")
    ids = [part["id"] for part in read(form)["body"] if "id" in part]
    assert len(ids) == len(set(ids))


def test_both_code_hosts_have_the_same_templates() -> None:
    check(ROOT / ".github/ISSUE_TEMPLATE/config.yml", "github-issue-config")
    gitlab = ROOT / ".gitlab"
    assert {form.stem for form in FORMS} == {path.stem.lower() for path in (gitlab / "issue_templates").glob("*.md")}
    request = (gitlab / "merge_request_templates/Default.md").read_text()
    assert request == (ROOT / ".github/pull_request_template.md").read_text()


# ---- private parts of libraries


def private_parts(path: Path) -> set[str]:
    """Private names of libraries that a file uses: those that ruff would report without a remark of ours."""
    lines = path.read_text().splitlines()
    everywhere = any(line.startswith("# ruff: noqa: SLF001") for line in lines)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and ast.unparse(node.value) != "self":
            marked = " ".join(lines[node.lineno - 1 : node.end_lineno])
            ours = re.search("of this file|of a class above", marked)
            if (everywhere or "SLF001" in marked) and not ours:
                found.add(node.attr)
    return found


def test_every_private_part_of_a_library_has_a_canary() -> None:
    """A canary names the release and the place to look at, so that an upgrade does not fail far from its cause."""
    told = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    canaries = " ".join(text for text in told if re.search(r"look at\b", text) and re.search("version|release", text))
    packages = ("corrente", "stream", "serving", "simulators")
    used = {name for package in packages for path in (ROOT / package).rglob("*.py") for name in private_parts(path)}
    assert len(used) > 20
    assert [name for name in sorted(used) if not re.search(rf"\b{name}\b", canaries)] == []


# ---- documents


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_of_a_document_lead_somewhere(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target.partition("#")[0]).exists(), f"{name} links to {target}"


def test_the_changelog_has_the_form_that_it_names() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[0] == "Unreleased"
    releases = [re.fullmatch(r"(\d+\.\d+\.\d+) - (\d{4}-\d\d-\d\d)", heading) for heading in headings[1:]]
    assert all(releases), headings
    dates = [release[2] for release in releases if release]
    assert dates == sorted(dates, reverse=True)
    assert releases[0]
    assert releases[0][1] == PROJECT["project"]["version"]
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= CATEGORIES


@pytest.mark.parametrize("target", re.findall(r"`make ([a-z-]+)", (ROOT / "CONTRIBUTING.md").read_text()))
def test_every_target_that_contributors_read_of_is_there(target: str) -> None:
    assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


# ---- parts of `make test`


def make_variable(name: str) -> list[str]:
    """Words of a variable of the Makefile, those of other variables among them."""
    found = re.search(rf"^{name} := ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert found, name
    words = found[1].replace("\\\n", " ").split()
    return [each for word in words for each in (make_variable(word[2:-1]) if word.startswith("$(") else [word])]


def recipe_of(target: str) -> str:
    """Commands of a target of the Makefile, whatever their priority."""
    found = re.search(rf"^{target}: .*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found, target
    return found[1].replace("$(YIELDING) ", "")


def test_every_test_is_in_one_part_of_make_test() -> None:
    named = {
        part: make_variable(part.upper())
        for part in ("pages", "integration", "guides", "served", "programs", "learning")
    }
    assert set(make_variable("PARTS")) == {*named, "packaged", "in-process"}
    assert "$(PARTS)" in recipe_of("test")
    for part, paths in named.items():
        assert all((ROOT / path).exists() for path in paths), "a path that is missing would leave its tests out"
        inside = {
            other
            for other, others in named.items()
            if other != part and any(Path(each).is_relative_to(path) for each in others for path in paths)
        }
        ignored = f"$(addprefix --ignore=,$({inside.pop().upper()})) " if inside else ""
        assert recipe_of(part) == f"\t$(MEASURED) $({part.upper()}) {ignored}$(PYTEST)\n"
        assert not inside
    assert sorted(make_variable("ELSEWHERE")) == sorted(path for paths in named.values() for path in paths)
    rest = recipe_of("in-process")
    assert rest == '\t$(MEASURED) -m "not packaging" $(addprefix --ignore=,$(ELSEWHERE)) $(PYTEST)\n'
    assert "-m packaging $(PACKAGED)" in recipe_of("packaged")
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.packaging" in path.read_text()]
    marked.remove(Path(__file__))  # which names the mark in this test
    assert [path.relative_to(ROOT).as_posix() for path in marked] == make_variable("PACKAGED")


# ---- coverage


def compiling_decorators() -> set[str]:
    """Decorators that compile a function: each calls `compiled_with`, or is Numba's own for machine code."""
    found = {"intrinsic"}
    for name in ("stream.state.compiled", "stream.models.kernels.compile"):
        module = importlib.import_module(name)
        for node in ast.parse(Path(str(module.__file__)).read_text()).body:
            if isinstance(node, ast.FunctionDef) and "compiled_with(function" in ast.unparse(node.body):
                found.add(node.name)
    return found - {"compiled_with"}


def test_coverage_leaves_out_compiled_functions_and_nothing_else() -> None:
    """Machine code runs outside the interpreter, so no tool can see its lines; every other line counts."""
    configured = PROJECT["tool"]["coverage"]
    assert "omit" not in configured["run"]
    assert "exclude_lines" not in configured["report"]
    assert configured["run"]["source"] == PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    (pattern,) = configured["report"]["exclude_also"]
    decorators = compiling_decorators()
    assert {"kernel", "inlined", "vectored", "compiled", "compiled_keeping_gil"} <= decorators
    for package in configured["run"]["source"]:
        for path in sorted((ROOT / package).rglob("*.py")):
            lines = path.read_text().splitlines()
            left_out = [line for line in lines if re.search(pattern, line)]
            compiled = [line for line in lines if line.strip().removeprefix("@") in decorators and "@" in line]
            assert left_out == compiled, path


def test_a_measured_test_measures_the_processes_that_it_starts() -> None:
    if coverage.Coverage.current() is None:
        pytest.skip("coverage isn't measured; `make test` measures it")
    assert sys.gettrace() is not None
    assert MEASURES_CHILDREN in os.environ


@pytest.mark.unmeasured
def test_an_unmeasured_test_is_not_traced_nor_are_the_processes_that_it_starts() -> None:
    assert type(sys.gettrace()).__module__ != "coverage.tracer"
    assert MEASURES_CHILDREN not in os.environ
    child = [sys.executable, "-c", "import sys; print(sys.gettrace())"]
    assert subprocess.run(child, capture_output=True, text=True, check=True).stdout == "None\n"


def test_what_makes_a_pause_short_is_in_this_release_of_coverage() -> None:
    """If it isn't, look at what `Coverage.start` does before it traces, beside `start_again` in `tests/conftest.py`."""
    assert hasattr(coverage.Coverage(), "_warn_preimported_source")
    assert coverage.Coverage().get_option("run:patch") == PROJECT["tool"]["coverage"]["run"]["patch"]


@pytest.mark.parametrize("case", ["first", "second"])
def test_the_first_case_of_a_parametrized_test_is_measured(case: str, request: pytest.FixtureRequest) -> None:
    assert (request.node.get_closest_marker("unmeasured") is None) == (case == "first")


@given(strategies.none())
def test_a_property_is_unmeasured(request: pytest.FixtureRequest, nothing: None) -> None:
    assert request.node.get_closest_marker("unmeasured")


def test_no_line_is_left_out_of_coverage_by_hand() -> None:
    marked = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in PROJECT["tool"]["coverage"]["run"]["source"]
        for path in sorted((ROOT / package).rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if "pragma: no cover" in line
    ]
    assert marked == []


def test_the_floor_is_ninety_percent_of_the_lines_outside_compiled_functions() -> None:
    assert PROJECT["tool"]["coverage"]["report"]["fail_under"] >= 90
