"""`corrente replay` into a real system: every row of the file is accounted for, over HTTP and over Kafka."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness.server_process import ServerProcess, running_server
from tests.integration.harness.worker_process import WorkerProcess

ROWS = 3000
UNREADABLE = 3
REPEATED = 50


@pytest.fixture
def server(environment: Mapping[str, str]) -> Iterator[ServerProcess]:
    with running_server(environment) as process:
        yield process


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """A file of clicks, purchases and returns with event ids, some of them twice, and rows that are no events.

    Of ten events one is of a visitor who refused, one of a bot, and one is only counted.
    """
    rows = ["ts,customer,item,event,event_id,consent,bot"]
    for number in range(ROWS):
        kind = ("click", "click", "click", "purchase", "return")[number % 5]
        said = {3: "none,", 5: ",true", 8: "aggregate,false"}.get(number % 10, ",")
        rows.append(f"{1_600_000_000 + number},c{number % 97},i{number % 53},{kind},e{number},{said}")
    rows += rows[1 : REPEATED + 1]
    rows += ["never,c1,i1,click,x1,,", "1600000000,,i1,click,x2,,", "1600000000,c1,,click,x3,,"]
    path = tmp_path / "history.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("via", ["http", "kafka"])
def test_the_counts_close(
    via: str,
    history: Path,
    server: ServerProcess,
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
) -> None:
    """With refusals and bots in the file, and while the catalogue changes."""
    make_topics(1)
    worker()
    server.wait_for_kafka()
    command = [sys.executable, "-m", "stream.cli", "replay", str(history), "--via", via, "--column", "user=customer"]
    command += ["--check", "--json", "--address", str(server.client.base_url)]
    run = subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    changes = 0
    while run.poll() is None:
        item = f"i{changes % 53}"
        assert server.client.put(f"/v1/items/{item}", json={"hidden": changes % 3 == 0}).status_code == 200
        changes += 1
    printed, errors = run.communicate()
    assert run.returncode == 0, errors
    assert changes > 0
    summary: dict[str, Any] = json.loads(printed.splitlines()[-1])
    sent = ROWS + REPEATED
    assert summary["closed"]
    assert summary["rows"] == sent + UNREADABLE
    assert summary["unreadable"] == UNREADABLE
    assert summary["acknowledged"] == summary["sent"] == sent
    unlearned = (ROWS + REPEATED) // 5  # refusals and bots are left out before ids are looked at
    repeated = 4 * REPEATED // 5
    counts = {"read": sent, "learned": 4 * ROWS // 5, "duplicates": repeated, "unlearned": unlearned}
    assert summary["seen"] == {**counts, "refused": 0, "dead_letters": 0}
    assert summary["by_topic"] == {"clicks": 3 * sent // 5, "purchases": sent // 5, "feedback": sent // 5}
    assert [problem.partition(":")[0] for problem in summary["problems"]] == [
        f"line {sent + 2}", f"line {sent + 3}", f"line {sent + 4}",
    ]  # fmt: skip


def test_orders_of_several_lines_are_replayed_by_a_mapping_and_each_line_counts_once(
    tmp_path: Path,
    server: ServerProcess,
    environment: dict[str, str],
    make_topics: Callable[..., None],
    worker: Callable[..., WorkerProcess],
) -> None:
    """The system itself maps nothing: a file in a producer's form is sent as events in ours.

    The command is the one with which `corrente profile` ends.
    """
    make_topics(1)
    worker()
    server.wait_for_kafka()
    (tmp_path / "shop.yaml").write_text(
        "topics: {purchases: {otherwise: leave_out, fields: {user: who, timestamp: at, event_id: id}, "
        "rules: [{when: {what: order}, kind: purchase, fields: {item: 'lines[].sku', quantity: 'lines[].n'}}]}}"
    )
    lines = [{"sku": "tea", "n": 1}, {"sku": "cup", "n": 2}]
    orders = [
        {"what": "order", "who": f"c{n % 7}", "at": 1_600_000_000 + n, "id": f"o{n}", "lines": lines} for n in range(40)
    ]
    records = [*orders, orders[0], {"what": "login"}, {**orders[0], "lines": [{"n": 1}]}]
    (tmp_path / "orders.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))

    def corrente(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "stream.cli", *words],
            env={**os.environ, **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    described = corrente("profile", "orders.jsonl", "--mapping", "shop.yaml").stdout.splitlines()[-1]
    assert described == "corrente replay orders.jsonl --mapping shop.yaml --check"
    run = corrente(*shlex.split(described)[1:], "--json", "--address", str(server.client.base_url))
    assert run.returncode == 0, run.stderr
    summary: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    assert (summary["rows"], summary["unreadable"], summary["sent"]) == (43, 1, 82)
    assert summary["left_out_by_rule"] == {"unmapped": 1}
    counts = {"read": 82, "learned": 80, "duplicates": 2}
    assert summary["seen"] == {**counts, "refused": 0, "dead_letters": 0, "unlearned": 0}
    assert "line 43: item: nothing at lines[0].sku" in summary["problems"][0]


def test_a_file_without_the_columns_is_refused_with_the_columns_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("when\twho\twhat\n1\tu\ta\n")
    command = [sys.executable, "-m", "stream.cli", "replay", str(tmp_path / "a.tsv")]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "no column 'ts' or 'timestamp'. There are: when, who, what." in run.stderr
    assert "Traceback" not in run.stderr


def test_a_system_that_does_not_answer_is_named(history: Path) -> None:
    command = [sys.executable, "-m", "stream.cli", "replay", str(history), "--column", "user=customer", "--check"]
    run = subprocess.run([*command, "--address", "http://127.0.0.1:9"], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "127.0.0.1:9" in run.stderr
    assert "Traceback" not in run.stderr
