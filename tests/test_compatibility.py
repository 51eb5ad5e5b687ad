"""The contract of an earlier release still holds: nothing that it offered to programs outside is gone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from stream.events import decoder
from stream.settings import RENAMED, Settings, load_settings
from tests.contracts.read_contract import contract

ROOT = Path(__file__).parent.parent
RELEASES = sorted((ROOT / "tests/contracts").glob("release-*.json"))


@pytest.fixture(scope="module")
def today() -> dict[str, Any]:
    return contract()


def promised(part: str) -> list[tuple[str, str, Any]]:
    """Release, name and content of each entry of one part of the contracts."""
    found = []
    for path in RELEASES:
        found += [(path.stem, name, content) for name, content in json.loads(path.read_text())[part].items()]
    return found


def test_there_is_a_contract_of_every_release() -> None:
    """Every release that the changelog names has one; a release is made together with its file."""
    assert RELEASES[0].name == "release-0.1.json"
    changelog = ROOT / "CHANGELOG.md"
    released = re.findall(r"^## \[?v?(\d+\.\d+)", changelog.read_text(), re.MULTILINE) if changelog.exists() else []
    assert {f"release-{release}.json" for release in released} <= {path.name for path in RELEASES}


@pytest.mark.parametrize(("release", "name", "default"), promised("settings"))
def test_a_setting_still_works_under_the_name_that_it_had(
    today: dict[str, Any], release: str, name: str, default: str
) -> None:
    assert name in today["settings"] or RENAMED[name] in today["settings"], release
    assert isinstance(load_settings({name: default}), Settings), "the default of then is a value that still fits"


@pytest.mark.parametrize(("release", "name", "metric"), promised("metrics"))
def test_a_metric_keeps_its_name_kind_and_labels(
    today: dict[str, Any], release: str, name: str, metric: dict[str, Any]
) -> None:
    assert today["metrics"][name]["kind"] == metric["kind"], release
    assert set(today["metrics"][name]["labels"]) == set(metric["labels"]), "a new label would change every sum"


@pytest.mark.parametrize(("release", "name", "route"), promised("routes"))
def test_a_route_takes_and_gives_what_it_did(
    today: dict[str, Any], release: str, name: str, route: dict[str, Any]
) -> None:
    assert today["routes"][name]["status"] == route["status"], release
    for part in ("parameters", "body", "answer"):
        assert set(route[part]) <= set(today["routes"][name][part]), part


@pytest.mark.parametrize(("release", "name", "fields"), promised("events"))
def test_an_event_may_still_have_every_field(today: dict[str, Any], release: str, name: str, fields: list[str]) -> None:
    assert set(fields) <= set(today["events"][name]), release


@pytest.mark.parametrize("topic", ["clicks", "purchases", "feedback"])
def test_fields_that_this_release_does_not_know_are_ignored(topic: str) -> None:
    """A producer may be newer than the worker."""
    event = {"item": "a", "user": "u", "kind": "view", "a field of a later release": {"x": [1]}}
    decoded = decoder(topic).decode(json.dumps(event).encode())
    assert (decoded.item, decoded.user) == ("a", "u")


@pytest.mark.parametrize(("release", "name", "options"), promised("commands"))
def test_a_command_keeps_its_options(today: dict[str, Any], release: str, name: str, options: list[str]) -> None:
    assert set(options) <= set(today["commands"][name]), release
