"""Dashboards and alerts: metrics that exist, labels that they have, expressions that Prometheus reads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from serving.metrics import Metrics
from stream.ingest.records import Record
from stream.models.settings import ModelSettings
from stream.runner.metrics import WorkerMetrics, numbers_in
from stream.shard.shard import Shard

MONITORING = Path(__file__).parent.parent / "monitoring"
DASHBOARDS = sorted((MONITORING / "grafana/dashboards").glob("*.json"))
RULES: list[dict[str, Any]] = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"][0]["rules"]

DASHBOARD_SCHEMA = {
    "type": "object",
    "required": ["uid", "title", "schemaVersion", "panels", "templating", "time"],
    "properties": {
        "uid": {"type": "string", "maxLength": 40},
        "schemaVersion": {"type": "integer", "minimum": 36},
        "panels": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["id", "type", "title", "gridPos"],
                "properties": {
                    "gridPos": {"type": "object", "required": ["h", "w", "x", "y"]},
                    "targets": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "object", "required": ["expr", "refId", "datasource", "legendFormat"]},
                    },
                },
            },
        },
    },
}
"""Fields that Grafana needs to show a dashboard from a file."""


def expressions() -> Iterator[tuple[str, str]]:
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            for target in panel.get("targets", []):
                yield f"{path.name}: {panel['title']}", target["expr"]
    for rule in RULES:
        yield rule["alert"], rule["expr"]


EXPRESSIONS = list(expressions())

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed"
)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_can_be_shown(path: Path) -> None:
    dashboard = json.loads(path.read_text())
    jsonschema.Draft202012Validator(DASHBOARD_SCHEMA).validate(dashboard)
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    squares = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(squares)) == len(squares), "no two panels overlap"
    assert max(x for x, _ in squares) == 23, "panels use the full width of the page"


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_an_expression_uses_metrics_that_exist_and_labels_that_they_have(where: str, expression: str) -> None:
    labels: dict[str, set[str]] = {}
    for registry in (Metrics().registry, WorkerMetrics().registry):
        for metric, names in registry._collector_to_names.items():
            for name in names:
                labels[name] = {*getattr(metric, "_labelnames", ()), "instance", "job", "le"}
    bare = re.sub(r'"[^"]*"', '""', expression)
    used = re.findall(r"(corrente_[a-z_]+)(?:\{([^}]*)\})?", bare)
    assert used or "up{" in bare, where
    for name, matchers in used:
        assert name in labels, f"{where}: {name}"
        asked = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers or ""))
        assert asked <= labels[name], f"{where}: {name} has no {asked - labels[name]}"


def test_paths_of_measurements_are_those_of_a_state() -> None:
    shard = Shard(ModelSettings(max_items=64, max_visitors=64, max_sessions=64, max_event_ids=64))
    clicks = [
        Record("clicks", number, 1_700_000_000_000 + number, b'{"item": "%d", "user": "%d"}' % (number % 7, number % 3))
        for number in range(60)
    ]
    shard.apply(clicks, rate=1.0)
    state = shard.readable_state()
    known = {
        "corrente_worker_prequential": [path for path, _ in numbers_in(state["metrics"])],
        "corrente_worker_drift": [path for path, _ in numbers_in(state["drift"])],
    }
    asked = [
        (where, metric, is_pattern, path.replace("\\\\", "\\"))
        for where, expression in EXPRESSIONS
        for metric, is_pattern, path in re.findall(r'(corrente_worker_\w+)\{name=(~?)"([^"]*)"', expression)
    ]
    assert asked
    for where, metric, is_pattern, path in asked:
        found = [each for each in known[metric] if (re.fullmatch(path, each) if is_pattern else each == path)]
        assert found, f"{where}: no state has {path} in {known[metric][:20]}"


@needs_promtool
def test_promtool_reads_every_expression(tmp_path: Path) -> None:
    rules = [{"record": f"asked:{number}", "expr": each} for number, (_, each) in enumerate(EXPRESSIONS)]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    checked = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


LOST = 'corrente_worker_lost_records_total{topic="clicks", instance="%s"}'
FIRING = [
    ("nothing is lost", [(LOST % "a", "0x240")], None),
    ("a running worker loses records", [(LOST % "a", "0x119 14900x120")], "125m"),
    ("a worker finds a loss at its first start", [(LOST % "a", "14900x60")], "5m"),
    ("a worker finds a loss after a restart", [(LOST % "a", "0x119 7x120")], "125m"),
    ("a new worker beside others finds a loss", [(LOST % "a", "0x240"), (LOST % "b", "_x119 7x120")], "125m"),
    ("a loss of yesterday", [(LOST % "a", "7x2000")], None),
]


STOPPED = 'corrente_learning_stopped{shard="%s", reason="%s", instance="%s"}'
STANDING = [
    ("every shard is learned", [(STOPPED % (0, "redis", "a"), "_x60")], "7m", None),
    ("a shard stands still for longer than a moment", [(STOPPED % (3, "redis", "a"), "1x60")], "2m", (3, "redis")),
    (
        "two servers say the same",
        [(STOPPED % (3, "no worker", each), "_x10 1x60") for each in "ab"],
        "15m",
        (3, "no worker"),
    ),
    ("a worker is replaced", [(STOPPED % (3, "no worker", "a"), "_x5 1 stale")], "7m", None),
]


@needs_promtool
@pytest.mark.parametrize(("what", "series", "at", "stopped"), STANDING, ids=[what for what, *_ in STANDING])
def test_the_alert_for_learning_fires_when_a_server_sees_that_a_shard_is_not_learned(
    what: str, series: list[tuple[str, str]], at: str, stopped: tuple[int, str] | None, tmp_path: Path
) -> None:
    labels = {"shard": str(stopped[0]), "reason": stopped[1], "severity": "critical"} if stopped else None
    wrong = differs("CorrenteLearningStopped", series, labels, at, tmp_path)
    assert wrong == "", f"{what}: {wrong}"


BEHIND = 'corrente_catalogue_behind{instance="%s"}'
VIOLATIONS = 'corrente_filter_violations_total{instance="a"}'
DOCUMENTS = 'corrente_worker_documents_total{topic="items", outcome="%s", instance="a"}'
LAG = 'corrente_worker_document_lag_records{topic="items", instance="%s"}'
CATALOGUE = [
    ("CorrenteFilterViolated", "no hidden item was ranked", [(VIOLATIONS, "0x60")], "40m", None),
    ("CorrenteFilterViolated", "a hidden item was ranked", [(VIOLATIONS, "0x19 1x40")], "25m", {"instance": "a"}),
    ("CorrenteCatalogueBehind", "a server misses one look", [(BEHIND % "a", "0x9 1 0x30")], "11m", None),
    ("CorrenteCatalogueBehind", "a server follows no more", [(BEHIND % "a", "0x9 1x30")], "15m", {"instance": "a"}),
    ("CorrenteDocumentsWait", "a first import is read", [(LAG % "a", "9000 5000 1000 0x30")], "20m", None),
    ("CorrenteDocumentsWait", "another worker reads", [(LAG % "a", "9 9 stale"), (LAG % "b", "_x2 0x30")], "9m", None),
    ("CorrenteDocumentsWait", "nothing is read any more", [(LAG % "a", "0x5 40x30")], "15m", {"topic": "items"}),
    ("CorrenteDocumentsRefused", "good documents", [(DOCUMENTS % "written", "0x9 70x30")], "15m", None),
    ("CorrenteDocumentsRefused", "bad ones", [(DOCUMENTS % "dead_letters", "0x9 2x30")], "15m", {"topic": "items"}),
]


@needs_promtool
@pytest.mark.parametrize(
    ("alert", "what", "series", "at", "labels"), CATALOGUE, ids=[f"{alert}: {what}" for alert, what, *_ in CATALOGUE]
)
def test_alerts_of_the_catalogue_fire_when_lists_or_documents_go_wrong(
    alert: str,
    what: str,
    series: list[tuple[str, str]],
    at: str,
    labels: dict[str, str] | None,
    tmp_path: Path,
) -> None:
    wrong = differs(alert, series, {**labels, "severity": "warning"} if labels else None, at, tmp_path)
    assert wrong == "", f"{what}: {wrong}"


@needs_promtool
@pytest.mark.parametrize(("what", "series", "fires_at"), FIRING, ids=[what for what, _, _ in FIRING])
def test_the_alert_for_lost_records_fires_when_records_were_lost(
    what: str, series: list[tuple[str, str]], fires_at: str | None, tmp_path: Path
) -> None:
    labels = {"topic": "clicks", "severity": "critical"}
    wrong = differs("CorrenteLostRecords", series, labels if fires_at else None, fires_at or "1900m", tmp_path)
    assert wrong == "", f"{what}: {wrong}"


LIMITED = 'corrente_limited_total{limit="%s", instance="a"}'
ACCESS = 'corrente_access_refused_total{reason="%s", instance="a"}'
SHED = 'corrente_shed_total{reason="%s", instance="%s"}'
VIOLATIONS = 'corrente_filter_violations_total{instance="a"}'
CALLERS = [
    ("keys are guessed", "CorrenteKeysGuessed", [(LIMITED % "guesses", "0+5x60")], "30m", {}),
    ("a person mistypes a key", "CorrenteKeysGuessed", [(LIMITED % "guesses", "0x5 3x60")], "30m", None),
    ("a quota is used up", "CorrenteKeysGuessed", [(LIMITED % "lists", "0+600x60")], "30m", None),
    (
        "a quota is used up for long",
        "CorrenteLimitUsedUp",
        [(LIMITED % "lists", "0+600x60")],
        "30m",
        {"limit": "lists"},
    ),
    ("a quota is used up now and then", "CorrenteLimitUsedUp", [(LIMITED % "lists", "0+30x60")], "30m", None),
    ("guesses are no quota", "CorrenteLimitUsedUp", [(LIMITED % "guesses", "0+600x60")], "30m", None),
    ("a key ended in use", "CorrenteKeysRefused", [(ACCESS % "expired", "0+6x60")], "30m", {"reason": "expired"}),
    ("calls come without a key", "CorrenteKeysRefused", [(ACCESS % "no key", "0+600x60")], "30m", None),
    (
        "a server has too much to do",
        "CorrenteShedsLoad",
        [(SHED % ("waiting", "a"), "0+90x60")],
        "30m",
        {"instance": "a"},
    ),
    ("a burst is over", "CorrenteShedsLoad", [(SHED % ("waiting", "a"), "0x3 900x60")], "30m", None),
    ("a list breaks its filter", "CorrenteFilterViolated", [(VIOLATIONS, "0x9 1x60")], "12m", {"instance": "a"}),
    ("every list keeps to its filter", "CorrenteFilterViolated", [(VIOLATIONS, "0x60")], "30m", None),
]


@needs_promtool
@pytest.mark.parametrize(("what", "alert", "series", "at", "labels"), CALLERS, ids=[what for what, *_ in CALLERS])
def test_alerts_for_callers_fire_for_what_lasts_and_for_nothing_else(
    what: str, alert: str, series: list[tuple[str, str]], at: str, labels: dict[str, str] | None, tmp_path: Path
) -> None:
    wrong = differs(alert, series, {**labels, "severity": "warning"} if labels is not None else None, at, tmp_path)
    assert wrong == "", f"{what}: {wrong}"


def differs(alert: str, series: list[tuple[str, str]], expected: dict[str, str] | None, at: str, folder: Path) -> str:
    """The words of promtool if an alert does not do what is expected; empty if it does.

    Args:
        alert: its name.
        series: names and values of series, one a minute.
        expected: labels of the alert; None if it must not fire.
        at: time since the beginning.
        folder: for files.
    """
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series],
        "alert_rule_test": [
            {
                "eval_time": at,
                "alertname": alert,
                "exp_alerts": [{"exp_labels": expected}] if expected else [],
            }
        ],
    }
    for rule in (rules := yaml.safe_load((MONITORING / "rules.yml").read_text()))["groups"][0]["rules"]:
        rule.pop("annotations")  # their numbers are not what is tested
    (folder / "rules.yml").write_text(yaml.safe_dump(rules))
    (folder / "test.yml").write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "tests": [test]}))
    run = subprocess.run(
        ["promtool", "test", "rules", folder / "test.yml"], capture_output=True, text=True, check=False
    )
    return "" if run.returncode == 0 else run.stdout + run.stderr
