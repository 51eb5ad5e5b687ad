"""Who may import whom, and what the core never does. Read from the source, so that nothing has to run."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("stream", "serving", "simulators", "benchmarks")

CORE = (
    "stream/shard/shard.py",
    "stream/ingest/merge.py",
    "stream/ingest/decoding.py",
    "stream/state/checkpoint.py",
    "stream/state/journal.py",
)
CORE += ("stream/state/tables.py", "stream/state/codec.py", "stream/state/byte_planes.py")
CORE += ("stream/events.py", "stream/models/drift/detectors.py", "stream/models/", "stream/evaluation/")
EDGES_OF_THE_CORE = ("stream/evaluation/cli.py",)
"""Commands: they may look at the clock to say how long something took."""


@cache
def files_of(*places: str) -> list[Path]:
    """Every source file below these folders, or these files."""
    everything = [path for folder in (*PACKAGES, "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in everything if path.relative_to(ROOT).as_posix().startswith(places)]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports_of(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it; `from a.b import c` is `a.b.c`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def calls_in(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Every call in a file, as it is written: `np.random.default_rng`."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def is_of(module: str, *owners: str) -> bool:
    return any(module == owner or module.startswith(f"{owner}.") for owner in owners)


def offences(files: list[Path], wrong: Callable[[str], bool]) -> list[str]:
    assert files, "the rule looks at no file"
    return [f"{path.relative_to(ROOT)} imports {name}" for path in files for name in imports_of(path) if wrong(name)]


def test_stream_imports_none_of_the_others() -> None:
    assert offences(files_of("stream/"), lambda name: is_of(name, "serving", "simulators", "benchmarks", "tests")) == []


def test_serving_knows_only_the_contracts_of_stream() -> None:
    known = {"events", "settings", "versions", "models", "tables", "encoding", "filling", "logs", "freed"}

    def wrong(name: str) -> bool:
        foreign = is_of(name, "simulators", "benchmarks", "tests")
        return foreign or (is_of(name, "stream") and name.split(".")[1] not in known)

    assert offences(files_of("serving/"), wrong) == []


def test_simulators_talk_to_the_running_system_and_import_none_of_it() -> None:
    known = {"events", "settings", "datasets"}

    def wrong(name: str) -> bool:
        foreign = is_of(name, "serving", "benchmarks", "tests")
        return foreign or (is_of(name, "stream") and name.split(".")[1] not in known)

    assert offences(files_of("simulators/"), wrong) == []


def test_faust_is_the_worker_s_business() -> None:
    homes = ("stream/worker.py", "stream/worker_cli.py", "stream/kafka/transport.py", "stream/runner/task.py")
    others = [path for path in files_of("stream/", "serving/", "simulators/") if path not in files_of(*homes)]
    assert offences(others, lambda name: is_of(name, "faust", "mode")) == []


def test_fastapi_is_serving_s_business() -> None:
    assert offences(files_of("stream/", "simulators/"), lambda name: is_of(name, "fastapi", "starlette")) == []


def test_redis_is_the_version_store_s_business_and_its_errors_everybody_s() -> None:
    others = [path for path in files_of("stream/", "serving/", "simulators/") if "versions/" not in path.as_posix()]

    def wrong(name: str) -> bool:
        return is_of(name, "redis") and not is_of(name, "redis.exceptions")

    assert offences(others, wrong) == []


def test_nobody_imports_the_worker_but_its_command() -> None:
    others = [path for path in files_of(*PACKAGES) if path.name != "worker_cli.py"]
    assert offences(others, lambda name: is_of(name, "stream.worker")) == []


def core_files() -> list[Path]:
    return [path for path in files_of(*CORE) if path not in files_of(*EDGES_OF_THE_CORE)]


def test_the_core_knows_no_clock_no_environment_no_network_and_no_chance() -> None:
    outside = ("time", "os", "socket", "ssl", "http", "urllib", "httpx", "aiohttp", "asyncio", "subprocess")
    outside += ("random", "secrets", "uuid", "redis", "aiokafka", "faust", "confluent_kafka", "structlog", "logging")
    assert offences(core_files(), lambda name: is_of(name, *outside)) == []


def test_the_core_s_times_and_seeds_are_arguments() -> None:
    now = (".now", ".utcnow", ".today")
    found = []
    for path in core_files():
        for name, call in calls_in(path):
            unseeded = name.endswith("random.default_rng") and not call.args and not call.keywords
            global_random = "np.random." in f"{name}." and not name.endswith(("default_rng", "Generator", "PCG64"))
            if name.endswith(now) or unseeded or global_random:
                found.append(f"{path.relative_to(ROOT)}:{call.lineno} {name}")
    assert found == []


def test_nothing_is_pickled() -> None:
    kinds = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve")
    assert offences(files_of(*PACKAGES), lambda name: is_of(name, *kinds)) == []
    allowed = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in files_of(*PACKAGES)
        for _, call in calls_in(path)
        if any(keyword.arg == "allow_pickle" for keyword in call.keywords)
    ]
    assert allowed == []


def test_nothing_is_evaluated_and_no_shell_is_started() -> None:
    found = []
    for path in files_of(*PACKAGES):
        for name, call in calls_in(path):
            shell = any(keyword.arg == "shell" for keyword in call.keywords)
            if shell or name in {"eval", "exec", "compile", "os.system", "os.popen", "asyncio.create_subprocess_shell"}:
                found.append(f"{path.relative_to(ROOT)}:{call.lineno} {name}")
    assert found == []


@pytest.mark.parametrize("path", files_of(*PACKAGES), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_file_says_what_it_decides(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)), f"{path} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_s_init_holds_a_docstring_and_public_names_only(package: str) -> None:
    inits = [path for path in files_of(f"{package}/") if path.name == "__init__.py"]
    assert inits, f"{package} has no __init__.py"
    for path in inits:
        for node in tree_of(path).body[1:]:
            names = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            assert names or isinstance(node, ast.Import | ast.ImportFrom), f"{path}:{node.lineno} {ast.unparse(node)}"


def test_no_room_is_called_after_nothing() -> None:
    grab_bags = {"utils", "util", "common", "helpers", "helper", "misc", "manager"}
    assert [path for path in files_of(*PACKAGES, "tests/") if path.stem in grab_bags] == []
