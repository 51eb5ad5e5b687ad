"""The compose file, the Dockerfile and what they mount: valid, complete, and of settings that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stream.access_settings import check_key_text
from stream.settings import load_settings
from stream.versions.salt import salt_problem

ROOT = Path(__file__).parent.parent
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SALT = "CORRENTE_MODEL__VISITOR_SALT"
SECRETS = {"first_key": "CORRENTE_API_KEY", "metrics_token": "CORRENTE_METRICS_TOKEN"}
"""Files that compose mounts at `/run/secrets`, and the variables that they are made of."""

REQUIRED = re.compile(r"\$\{(\w+):\?[^}]*\}")
"""A variable without which compose does not start."""


def with_variables(text: str, given: dict[str, str]) -> str:
    """A value as compose makes it of the environment."""
    text = REQUIRED.sub(lambda found: given[found[1]], text)
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: given.get(found[1], found[2]), text)


def line_for_secrets() -> str:
    """The line that writes `.env`, from the page on deployment."""
    page = (ROOT / "docs" / "operations" / "deploy.md").read_text()
    return next(line for line in page.splitlines() if line.startswith("printf 'GRAFANA"))


def test_it_follows_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests/schemas/compose.schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


def test_it_has_every_part() -> None:
    assert set(SERVICES) == {"kafka", "redis", "worker", "serving", "prometheus", "grafana"}


@pytest.mark.parametrize("name", SERVICES)
def test_every_part_is_watched_and_limited(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD", "no shell is needed for a health check"
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["restart"] == "unless-stopped"
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "nothing is open to the network unless its owner opens it"


def test_what_must_last_is_in_volumes() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert set(COMPOSE["volumes"]) <= mounted
    assert "--appendonly" in SERVICES["redis"]["command"]
    for source in mounted - set(COMPOSE["volumes"]):
        assert (ROOT / source).exists(), f"{source} is mounted and does not exist"


def test_workers_can_be_many() -> None:
    """With a published port or a name of its own, only one of them could start."""
    assert "ports" not in SERVICES["worker"]
    assert "container_name" not in SERVICES["worker"]


@pytest.mark.parametrize("name", ["worker", "serving"])
def test_its_settings_are_settings(name: str, tmp_path: Path) -> None:
    for secret in SERVICES[name]["secrets"]:
        assert COMPOSE["secrets"][secret] == {"environment": SECRETS[secret]}
        (tmp_path / secret).write_text("corrente_" + "5f" * 32)
    given = {
        variable: str(value).replace("/run/secrets", str(tmp_path))
        for variable, value in SERVICES[name]["environment"].items()
    }
    settings = load_settings(
        {each: with_variables(value, {SALT: "a secret of a test"}) for each, value in given.items()}
    )
    assert settings.model.visitor_salt == "a secret of a test"
    assert settings.kafka == "kafka:9092"
    assert settings.metrics_token.get_secret_value()
    assert bool(settings.first_key.get_secret_value()) is (name == "serving"), "a worker has no use for it"
    assert SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].startswith("INSIDE://kafka:9092,")


def test_a_server_that_binds_every_address_is_given_a_salt_of_its_own() -> None:
    """Without one compose says so at once; a default would be known to everyone, and the server would refuse it."""
    command = SERVICES["serving"]["command"]
    assert command[command.index("--host") + 1] == "0.0.0.0"
    for name in ("worker", "serving"):
        assert REQUIRED.fullmatch(SERVICES[name]["environment"][SALT]), "no default, and no start without it"
    assert salt_problem(load_settings({}).model.visitor_salt) is not None, "what a default would come to"
    assert SALT not in re.sub(r"^#.*$", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE), "none in the image"


def test_the_page_on_deployment_gives_every_variable_that_compose_needs() -> None:
    needed = {*REQUIRED.findall((ROOT / "docker-compose.yml").read_text()), *SECRETS.values()}
    assert needed == {"GRAFANA_PASSWORD", SALT, *SECRETS.values()}
    assert {each["environment"] for each in COMPOSE["secrets"].values()} == set(SECRETS.values())
    line = line_for_secrets()
    assert line.removeprefix("printf") in (ROOT / "docker-compose.yml").read_text(), "the same line in both"
    counts = ["no", "one", "two", "three", "four", "five", "six"]
    for page in ("README.md", "docs/operations/deploy.md", "docker-compose.yml"):
        assert f"{counts[len(needed)]} secrets" in (ROOT / page).read_text().lower().replace("\n", " "), page
    assert ".env\n" in (ROOT / ".gitignore").read_text(), "secrets are not committed"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_line_for_secrets_writes_secrets_that_are_good_enough(tmp_path: Path) -> None:
    line = line_for_secrets()
    subprocess.run(["sh", "-c", line], cwd=tmp_path, check=True)
    written = dict(each.split("=", 1) for each in (tmp_path / ".env").read_text().splitlines())
    assert set(written) == {"GRAFANA_PASSWORD", SALT, *SECRETS.values()}
    check_key_text(written["CORRENTE_API_KEY"])
    load_settings({"CORRENTE_METRICS_TOKEN": written["CORRENTE_METRICS_TOKEN"]})
    assert salt_problem(written[SALT]) is None
    assert len(written["GRAFANA_PASSWORD"]) >= 16


def test_images_have_versions() -> None:
    for name, service in SERVICES.items():
        tag = service["image"].partition(":")[2]
        assert re.match(r"v?\d", tag), f"{name}: {service['image']} is not pinned"


def test_the_image_carries_every_package_and_no_more_rights_than_needed() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for package in ("stream", "serving", "simulators", "benchmarks"):
        assert f"COPY {package} ./{package}" in dockerfile
        assert f"!{package}\n" in (ROOT / ".dockerignore").read_text()
    assert re.search(r"^USER \d+:\d+$", dockerfile, re.MULTILINE)
    assert dockerfile.count("--require-hashes") == 2
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE):
        assert all((ROOT / each).exists() for each in source.split())


def test_prometheus_scrapes_the_ports_that_are_served() -> None:
    scraped = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    ports = {config["job_name"]: config["dns_sd_configs"][0]["port"] for config in scraped}
    assert ports["corrente-worker"] == SERVICES["worker"]["environment"]["CORRENTE_METRICS_PORT"]
    assert SERVICES["serving"]["command"][-1] == str(ports["corrente-serving"])


def test_prometheus_reaches_metrics_that_ask_for_its_token() -> None:
    scraped = yaml.safe_load((ROOT / "monitoring/prometheus.yml").read_text())["scrape_configs"]
    assert [config["authorization"] for config in scraped] == [
        {"credentials_file": "/run/secrets/metrics_token"} for _ in ("worker", "serving")
    ]
    assert "metrics_token" in SERVICES["prometheus"]["secrets"]
    for name in ("worker", "serving"):
        assert SERVICES[name]["environment"]["CORRENTE_METRICS_TOKEN_FILE"] == "/run/secrets/metrics_token"
    assert SERVICES["worker"]["environment"]["CORRENTE_METRICS_HOST"] == "0.0.0.0", "Prometheus is another container"
    assert "/health/live" in SERVICES["worker"]["healthcheck"]["test"][-1], "probes have no token"


def test_rules_use_metrics_that_exist() -> None:
    from serving.metrics import Metrics
    from stream.runner.metrics import WorkerMetrics

    registries = [Metrics().registry, WorkerMetrics().registry]
    known = {name for registry in registries for names in registry._collector_to_names.values() for name in names}
    rules = yaml.safe_load((ROOT / "monitoring/rules.yml").read_text())["groups"][0]["rules"]
    for rule in rules:
        used = set(re.findall(r"corrente_[a-z_]+", re.sub(r'"[^"]*"', "", rule["expr"])))
        assert used <= known, f"{rule['alert']}: {used - known}"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (Debian's package prometheus) is not installed")
def test_promtool_accepts_the_rules() -> None:
    checked = subprocess.run(
        ["promtool", "check", "rules", ROOT / "monitoring/rules.yml"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
