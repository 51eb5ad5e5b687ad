"""Rooms, their order, what pure rooms never do, and how files are described: read from the source alone."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.unmeasured

ROOT = Path(__file__).parent.parent
PACKAGES = ("corrente", "stream", "serving", "simulators", "benchmarks")

PURE = ("stream/state/", "stream/ingest/", "stream/models/", "stream/shard/", "stream/evaluation/")
PURE += ("stream/profile/", "stream/catalogue/", "stream/privacy/", "stream/experiments/", "stream/profiles/")
"""Rooms that read no clock, environment, network or chance, those that are built later included."""

ROOMS = (
    # the client, which knows none of the others
    "corrente/",
    # the contract of events, and tables
    "stream/values.py",
    "stream/events.py",
    "stream/state/",
    # a model, from the names of its sources up to its estimator
    "stream/models/source_registry.py",
    "stream/models/source_names.py",
    "stream/models/feature_names.py",
    "stream/models/state_names.py",
    "stream/models/settings.py",
    "stream/models/schema.py",
    "stream/models/kernels/",
    "stream/models/event_codes.py",
    "stream/models/batch.py",
    "stream/models/had/places.py",
    "stream/models/workspace/",
    "stream/models/sources/",
    "stream/models/had/",
    "stream/models/ranking/",
    "stream/models/entities/",
    "stream/models/outcomes/",
    "stream/models/drift/",
    "stream/models/learning/",
    "stream/models/merging/",
    "stream/models/migration/",
    "stream/models/query.py",
    "stream/models/model.py",
    "stream/models/estimator.py",
    # what is built from a model without a network
    "stream/ingest/mapping/",
    "stream/ingest/schemas/fetched.py",
    "stream/service_links.py",
    "stream/setting_checks.py",
    "stream/kafka_settings.py",
    "stream/access_settings.py",
    "stream/registry_settings.py",
    "stream/configuration/",
    "stream/settings.py",
    "stream/settings_cli.py",
    "stream/ingest/",
    "stream/ingest/mapping/mapped_decoder.py",
    "stream/ingest/schemas/",
    "stream/ingest/mapping/check.py",
    "stream/ingest/mapping/cli.py",
    "stream/catalogue/",
    "stream/capacity/",
    "stream/shard/",
    "stream/evaluation/protocol.py",
    "stream/evaluation/measures/",
    "stream/evaluation/replay/",
    "stream/evaluation/report/",
    "stream/evaluation/",
    "stream/profile/",
    # edges
    "stream/runtime/",
    "stream/versions/errors.py",
    "stream/versions/storage/",
    "stream/access/",
    "stream/versions/",
    "stream/catalogue_store/",
    "stream/kafka/connection/",
    "stream/kafka/",
    "stream/registry/",
    "stream/tail/",
    "stream/health/",
    "stream/standby/",
    "stream/catalogue_topics/",
    "stream/runner/",
    "stream/start_checks.py",
    "stream/doctor/",
    "stream/worker.py",
    "stream/worker_cli.py",
    "stream/cli.py",
    # serving
    "serving/request_times.py",
    "serving/metrics.py",
    "serving/upstream_health.py",
    "serving/memory/",
    "serving/loading/",
    "serving/web/",
    "serving/limits/",
    "serving/access/",
    "serving/answers/",
    "serving/intake/",
    "serving/catalogue/",
    "serving/wiring.py",
    "serving/operations/",
    "serving/app.py",
    "serving/process/",
    "serving/cli.py",
    # outside
    "simulators/",
    "benchmarks/harness/",
    "benchmarks/baselines/",
    "benchmarks/legs/",
    "benchmarks/neural/",
    "benchmarks/cli.py",
)
"""Every room, lowest first: a file imports from its own room and from those above it in this list, never from below."""

MOST_FILES = 14
MOST_LINES = 450
LONG_FILES: dict[str, str] = {
    "tests/serving/answers/test_policies.py": "one table of all policies of lists, and what every row is put through",
    "tests/stream/kafka/test_transport.py": "one transport between two fakes, which every test needs",
    "tests/stream/runner/recovery/test_messages.py": "one table of all messages, beside what provokes each of them",
    "tests/stream/runner/test_task.py": "one runner, from its start to its end",
    "tests/stream/versions/test_store.py": "one suite of behaviour for the whole interface of the store",
    "tests/test_architecture.py": "one list of rooms, and the rules that read it",
}
"""Files of more than `MOST_LINES` lines, each with the reason why it isn't two."""


@cache
def files_of(*places: str) -> list[Path]:
    """Every source file below these folders, or these files."""
    everything = [path for folder in (*PACKAGES, "tests") for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in everything if path.relative_to(ROOT).as_posix().startswith(places)]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


@cache
def nodes_of(path: Path) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree_of(path)))


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, anywhere in it; `from a.b import c` is `a.b.c`."""
    found: list[str] = []
    for node in nodes_of(path):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found += [f"{node.module}.{name.name}" for name in node.names]
    return tuple(found)


@cache
def calls_in(path: Path) -> tuple[tuple[str, ast.Call], ...]:
    """Every call in a file, as it is written: `np.random.default_rng`."""
    return tuple((ast.unparse(node.func), node) for node in nodes_of(path) if isinstance(node, ast.Call))


def is_of(module: str, *owners: str) -> bool:
    return any(module == owner or module.startswith(f"{owner}.") for owner in owners)


def offences(files: list[Path], wrong: Callable[[str], bool]) -> list[str]:
    assert files, "the rule looks at no file"
    return [f"{path.relative_to(ROOT)} imports {name}" for path in files for name in imports_of(path) if wrong(name)]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def modules() -> dict[str, Path]:
    return {module_of(path): path for path in files_of(*(f"{package}/" for package in PACKAGES))}


@cache
def imported_by(path: Path) -> frozenset[str]:
    """Modules of ours that a file imports, anywhere in it."""
    found = set()
    for name in imports_of(path):
        owner = name if name in modules() else name.rpartition(".")[0]
        if owner in modules():
            found.add(owner)
    return frozenset(found - {module_of(path)})


def room_of(path: Path) -> int:
    """The place in `ROOMS` of the most exact room that a file lies in; doors belong to what they are the door of."""
    place = path.relative_to(ROOT).as_posix()
    fitting = [number for number, room in enumerate(ROOMS) if place.startswith(room)]
    assert fitting, f"{place} lies in no room of ROOMS: add its room where it belongs"
    return max(fitting, key=lambda number: len(ROOMS[number]))


def test_nothing_points_up() -> None:
    up = []
    for path in modules().values():
        if path.name == "__init__.py":
            continue
        for name in imported_by(path):
            target = modules()[name]
            if target.name != "__init__.py" and room_of(target) > room_of(path):
                up.append(f"{path.relative_to(ROOT)} imports {name}, which lies above it")
    assert up == []


def test_no_imports_go_in_circles() -> None:
    """Over all modules, whether they import at the top or inside a function (Tarjan's algorithm, 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    circles: list[list[str]] = []

    def visit(module: str) -> None:
        number[module] = low[module] = len(number)
        stack.append(module)
        for other in sorted(imported_by(modules()[module])):
            if other not in number:
                visit(other)
                low[module] = min(low[module], low[other])
            elif other in stack:
                low[module] = min(low[module], number[other])
        if low[module] == number[module]:
            circle = []
            while not circle or circle[-1] != module:
                circle.append(stack.pop())
            if len(circle) > 1:
                circles.append(sorted(circle))

    for module in modules():
        if module not in number:
            visit(module)
    assert circles == []


def test_no_folder_is_too_full_to_find_anything_in() -> None:
    folders = {path.parent for path in (*modules().values(), *files_of("tests/"))}
    full = {
        folder.relative_to(ROOT).as_posix(): count
        for folder in folders
        if (count := len(list(folder.glob("*.py")))) > MOST_FILES
    }
    assert full == {}


def test_no_file_is_long_without_a_reason(capsys: pytest.CaptureFixture[str]) -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in (*modules().values(), *files_of("tests/"))
        if (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    with capsys.disabled():
        print(f"\nfiles of more than {MOST_LINES} lines: {len(long)}")
        for name, lines in long.items():
            print(f"  {name}: {lines} lines; {LONG_FILES.get(name, 'no reason')}")
    assert set(long) == set(LONG_FILES), "a long file needs its reason in LONG_FILES, a short one none"


def test_tests_lie_where_the_code_lies_that_they_test() -> None:
    folders = {path.parent.relative_to(ROOT / "tests") for path in files_of(*(f"tests/{each}/" for each in PACKAGES))}
    assert len(folders) > 50
    assert [folder.as_posix() for folder in sorted(folders) if not (ROOT / folder / "__init__.py").is_file()] == []


def doors() -> list[Path]:
    return [path for path in modules().values() if path.name == "__init__.py"]


@pytest.mark.parametrize("door", doors(), ids=module_of)
def test_a_door_lists_every_file_behind_it(door: Path) -> None:
    inside = [path.stem for path in door.parent.glob("*.py") if path != door]
    inside += [path.name for path in door.parent.iterdir() if (path / "__init__.py").exists()]
    text = ast.get_docstring(tree_of(door)) or ""
    assert [name for name in sorted(inside) if f"`{name}`" not in text] == []


SLOW_OPENING = re.compile(r"(What|Who|Whose|Whoever|Whatever|Whether|Where|How|Which|When|Why|Of|The same)\b")


def docstrings_of(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Every string that documents a module, class, function, field or constant, with its line."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            match statement:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield statement.lineno, text.strip()


def test_a_docstring_opens_with_a_noun_phrase_or_an_imperative() -> None:
    """A docstring has to stand alone in a tooltip."""
    slow = [
        f"{path.relative_to(ROOT)}:{line} {text.splitlines()[0]}"
        for path in files_of(*(f"{package}/" for package in PACKAGES))
        for line, text in docstrings_of(tree_of(path))
        if SLOW_OPENING.match(text)
    ]
    assert slow == []


def test_stream_imports_none_of_the_others() -> None:
    assert offences(files_of("stream/"), lambda name: is_of(name, "serving", "simulators", "benchmarks", "tests")) == []


def test_the_client_could_be_installed_alone() -> None:
    known = {"corrente", "httpx", "msgspec", *sys.stdlib_module_names}
    assert offences(files_of("corrente/"), lambda name: name.partition(".")[0] not in known) == []


def test_nothing_but_tests_imports_the_client() -> None:
    """It is for programs of shops; ours reach the server by what they share with it."""
    ours = files_of("stream/", "serving/", "simulators/", "benchmarks/")
    assert offences(ours, lambda name: is_of(name, "corrente")) == []


def test_serving_knows_only_the_contracts_of_stream() -> None:
    known = {"events", "values", "settings", "versions", "models", "state", "runtime"}
    known |= {"access", "catalogue", "catalogue_store"}

    def wrong(name: str) -> bool:
        foreign = is_of(name, "simulators", "benchmarks", "tests")
        connects = is_of(name, "stream.kafka.connection")
        maps = is_of(name, "stream.ingest.mapping.plan")
        return foreign or (is_of(name, "stream") and not (connects or maps) and name.split(".")[1] not in known)

    assert offences(files_of("serving/"), wrong) == []


def test_simulators_talk_to_the_running_system_and_import_none_of_it() -> None:
    known = ("stream.events", "stream.settings", "stream.kafka.connection")
    known += ("stream.ingest.files", "stream.ingest.files.cli")  # the reader of files, and its options
    known += ("stream.ingest.mapping.plan",)  # the form in which a mapped topic takes our events

    def wrong(name: str) -> bool:
        foreign = is_of(name, "serving", "benchmarks", "tests")
        return foreign or (is_of(name, "stream") and not is_of(name, *known))

    assert offences(files_of("simulators/"), wrong) == []


def test_faust_is_the_worker_s_business() -> None:
    homes = ("stream/start_checks.py", "stream/worker.py", "stream/worker_cli.py", "stream/kafka/", "stream/runner/")
    others = [path for path in files_of("stream/", "serving/", "simulators/") if path not in files_of(*homes)]
    assert offences(others, lambda name: is_of(name, "faust", "mode")) == []


KAFKA_CLIENTS = {"AIOKafkaClient", "AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient"}


def test_every_client_of_kafka_gets_its_addresses_and_its_security_from_one_function() -> None:
    made = [
        (path, call)
        for path in files_of("stream/", "serving/", "simulators/")
        for name, call in calls_in(path)
        if name.rpartition(".")[2] in KAFKA_CLIENTS
    ]
    assert len(made) > 5, "the rule looks at too few clients"
    assert [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path, call in made
        if not any(each.arg is None and ast.unparse(each.value).startswith("client_options(") for each in call.keywords)
    ] == []


def test_fastapi_is_serving_s_business() -> None:
    assert offences(files_of("stream/", "simulators/"), lambda name: is_of(name, "fastapi", "starlette")) == []


def test_only_the_version_store_imports_redis_but_for_its_errors() -> None:
    others = [path for path in files_of("stream/", "serving/", "simulators/") if "versions/" not in path.as_posix()]

    def wrong(name: str) -> bool:
        return is_of(name, "redis") and not is_of(name, "redis.exceptions")

    assert offences(others, wrong) == []


def test_other_rooms_know_only_intervals_and_records_of_the_storage() -> None:
    """Keys that are written and scripts that are called elsewhere would bypass fences and checks."""
    others = [
        path
        for path in files_of("corrente/", "stream/", "serving/", "simulators/")
        if not path.relative_to(ROOT).as_posix().startswith(("stream/versions/", "stream/access/"))
    ]
    known = ("stream.versions.storage.reports", "stream.versions.storage.limit_scripts.LimitRow")
    known += ("stream.versions.storage.limit_scripts.DAY_SECONDS",)
    assert offences(others, lambda name: is_of(name, "stream.versions.storage") and not is_of(name, *known)) == []


def test_only_its_command_imports_the_worker() -> None:
    others = [path for path in files_of(*PACKAGES) if path.name != "worker_cli.py"]
    assert offences(others, lambda name: is_of(name, "stream.worker")) == []


def is_command(path: Path) -> bool:
    """A command-line file is an edge wherever it lies: it may read the clock and the environment."""
    return path.name == "cli.py" or path.name.endswith("_cli.py")


def pure_files() -> list[Path]:
    return [path for path in files_of(*PURE) if not is_command(path)]


def test_pure_rooms_know_no_clock_no_environment_no_network_and_no_chance() -> None:
    outside = ("time", "os", "socket", "ssl", "http", "urllib", "httpx", "aiohttp", "asyncio", "subprocess")
    outside += ("random", "secrets", "uuid", "redis", "aiokafka", "faust", "confluent_kafka", "structlog", "logging")
    assert offences(pure_files(), lambda name: is_of(name, *outside)) == []


def test_times_and_seeds_of_pure_rooms_are_arguments() -> None:
    now = (".now", ".utcnow", ".today")
    found = []
    for path in pure_files():
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
    text = ast.get_docstring(tree_of(path)) or ""
    assert text, f"{path} has no docstring"
    if path.name != "__init__.py":
        assert "This file decides" in " ".join(text.split())


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
