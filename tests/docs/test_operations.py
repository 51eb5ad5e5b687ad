"""The pages of operations: alerts and messages are those of the code, and copies are restored as the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import typer
import yaml
from typer.testing import CliRunner

from benchmarks.harness.servers import free_port
from stream.capacity.cli import size
from stream.versions import VersionStore
from tests.docs.named_in_pages import (
    blocks,
    commands,
    in_code,
    unknown_metrics,
    unknown_settings,
    wrong_command,
)
from tests.stream.versions.release_0_1 import MODEL
from tests.stream.versions.release_0_1 import restore as restore_fixture

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "operations"
PAGES = sorted(FOLDER.glob("*.md"))
MONITOR, TROUBLESHOOT = (FOLDER / "monitor.md").read_text(), (FOLDER / "troubleshoot.md").read_text()
ALERTS = yaml.safe_load((ROOT / "monitoring/rules.yml").read_text())["groups"][0]["rules"]

needs_redis = pytest.mark.skipif(
    not (shutil.which("redis-server") and shutil.which("redis-cli")), reason="redis-server is not installed"
)


def entries(text: str) -> dict[str, str]:
    """The text below each heading of the third level."""
    parts = re.split(r"^### (.+)$", text, flags=re.MULTILINE)[1:]
    return {name: re.split(r"^## ", body, flags=re.MULTILINE)[0] for name, body in zip(*[iter(parts)] * 2, strict=True)}


def marked(page: str, name: str) -> str:
    """The block of `sh` below a mark `tested`, without the indentation of a list."""
    found = re.search(rf"^( *)<!-- tested: {name} -->\n *```sh\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    assert found, f"no block is marked {name}"
    return re.sub(rf"^{found[1]}", "", found[2], flags=re.MULTILINE)


# ---- names


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_settings_and_metrics_that_a_page_names_exist(path: Path) -> None:
    text = path.read_text()
    assert unknown_settings(text) == set()
    assert unknown_metrics(text) == set()


@pytest.mark.parametrize("command", sorted({each for path in PAGES for each in commands(path.read_text())}))
def test_a_command_that_a_page_names_exists(command: str) -> None:
    assert wrong_command(command) is None


def test_every_page_is_in_the_index_and_in_its_tree() -> None:
    index = (FOLDER / "index.md").read_text()
    pages = {path.stem for path in PAGES} - {"index"}
    assert set(re.findall(r"\]\(([\w-]+)\.md\)", index)) == pages
    assert set(re.findall(r"^([\w-]+)$", index.split("{toctree}")[1], re.MULTILINE)) == pages


@pytest.mark.parametrize("wrong", ["corrente versions rollbak 3", "corrente versions list --limits 3"])
def test_a_command_that_is_not_there_is_found(wrong: str) -> None:
    assert wrong_command(wrong) is not None


# ---- alerts


def test_every_alert_has_its_paragraph_and_every_paragraph_its_alert() -> None:
    assert sorted(entries(MONITOR)) == sorted(rule["alert"] for rule in ALERTS)


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_an_alert_says_what_it_means_and_what_to_do(alert: str) -> None:
    meaning, _, doing = entries(MONITOR)[alert].partition("**Do.**")
    assert meaning.strip().startswith("**Meaning.**")
    assert min(len(meaning.split()), len(doing.split())) >= 15


# ---- messages


@pytest.mark.parametrize("entry", list(entries(TROUBLESHOOT)))
def test_a_symptom_has_a_cause_and_a_cure(entry: str) -> None:
    text = entries(TROUBLESHOOT)[entry]
    cause, _, doing = text.partition("**Do.**")
    assert "**Cause.**" in cause
    assert doing.strip()


@pytest.mark.parametrize(
    "message", [line for block in blocks(TROUBLESHOOT, "text") for line in block.splitlines() if line]
)
def test_a_quoted_message_is_in_the_code(message: str) -> None:
    assert in_code(message)


@pytest.mark.parametrize("absent", ["the moon does not answer yet", "can't open the shard yet; … trying never"])
def test_a_message_that_is_not_in_the_code_is_found(absent: str) -> None:
    assert not in_code(absent)


def test_every_warning_and_error_that_is_logged_is_explained() -> None:
    logged = re.compile(r'log\.(?:warning|error|exception)\(\s*"([^"%]+)"')
    quoted = " ".join(blocks(TROUBLESHOOT, "text"))
    found = [
        (path.name, message)
        for package in ("stream", "serving")
        for path in sorted((ROOT / package).rglob("*.py"))
        for message in logged.findall(path.read_text())
    ]
    assert len(found) > 30
    assert [(name, message) for name, message in found if message not in quoted] == []


# ---- what the deployment says


def test_the_printed_size_is_that_of_the_command() -> None:
    page = (FOLDER / "deploy.md").read_text()
    command = next(each for each in commands(page) if each.startswith("corrente size --"))
    app = typer.Typer()
    app.command()(size)
    printed = CliRunner().invoke(app, command.split()[2:], catch_exceptions=False).stdout
    assert printed.strip() in [block.strip() for block in blocks(page, "text")]


# ---- copies


@pytest.fixture
def live_redis(tmp_path: Path) -> Iterator[str]:
    """The address of a redis-server with an append-only file and the versions of the fixture."""
    (folder := tmp_path / "live").mkdir()
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes"]
    command += ["--repl-diskless-sync-delay", "0"]  # otherwise it waits five seconds for more who want a copy
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), 500))
    client.ping()
    restore_fixture(client)
    client.close()
    yield f"redis://127.0.0.1:{port}/0"
    server.kill()
    server.wait()


def typed(script: str, folder: Path, **variables: str) -> str:
    """Standard output of lines that are typed in a folder, with `corrente` and these variables."""
    path = f"{os.environ['PATH']}:{Path(sys.executable).parent}"  # the Redis of `live_redis` before an embedded one
    environment = {"PATH": path, "HOME": str(folder), "USER": "ada", **variables}
    run = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def everything(url: str) -> dict[str, Any]:
    """Versions, aliases and history, and every version's manifest with its hash verified."""
    store = VersionStore.connect(url, MODEL)
    found = {"versions": store.versions(), "aliases": store.aliases(), "history": store.history()}
    store.close()
    return found


@needs_redis
def test_a_copy_is_made_and_restored_as_the_page_says(live_redis: str, tmp_path: Path) -> None:
    page = (FOLDER / "back-up-and-restore.md").read_text()
    before = everything(live_redis)
    assert before["versions"]
    typed(marked(page, "back-up"), tmp_path, CORRENTE_REDIS=live_redis)
    port = str(free_port())
    restored = f"redis://127.0.0.1:{port}/0"
    try:
        for name in ("restore", "append-only"):
            typed(marked(page, name).replace("6380", port), tmp_path)
        assert everything(restored) == before
        shown = typed(marked(page, "look").replace("6380", port), tmp_path)
        assert str(before["aliases"]["latest"]) in shown
    finally:
        subprocess.run(["redis-cli", "-p", port, "shutdown"], capture_output=True, check=False)
    options = ["--port", port, "--bind", "127.0.0.1", "--dir", str(tmp_path / "restored"), "--appendonly", "yes"]
    again = subprocess.Popen(["redis-server", *options], stdout=subprocess.DEVNULL)
    try:
        client = redis.Redis(port=int(port), retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), 500))
        client.ping()
        client.close()
        assert everything(restored) == before, "the append-only file has everything after a restart"
    finally:
        again.kill()
        again.wait()


@needs_redis
def test_a_retired_model_leaves_no_key_and_its_neighbour_stays(live_redis: str, tmp_path: Path) -> None:
    client = redis.Redis.from_url(live_redis)
    for key in client.scan_iter(f"corrente:{{{MODEL}}}:*"):
        client.rename(key, key.replace(MODEL.encode(), b"shop"))
    restore_fixture(client)
    neighbour = everything(live_redis)
    typed(marked((FOLDER / "retire-a-model.md").read_text(), "retire"), tmp_path, CORRENTE_REDIS=live_redis)
    assert list(client.scan_iter("corrente:{shop}:*")) == []
    client.close()
    assert everything(live_redis) == neighbour
