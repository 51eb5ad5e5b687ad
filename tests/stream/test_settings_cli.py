"""`corrente settings show` prints what is in force and from where, and no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.settings import setting_table
from stream.settings_cli import app

SECRET = "s#cr/t"


@pytest.fixture(autouse=True)
def _given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "corrente.toml"
    config.write_text('log_level = "debug"\n[models.shop]\nmax_items = 2000\n')
    monkeypatch.setenv("CORRENTE_CONFIG", str(config))
    monkeypatch.setenv("CORRENTE_MODEL_NAME", "shop")
    monkeypatch.setenv("CORRENTE_REDIS", f"redis://user:{SECRET}@host:6379/0")
    monkeypatch.setenv("CORRENTE_REDIS_SENTINEL_PASSWORD", SECRET)
    monkeypatch.setenv("CORRENTE_MODEL__VISITOR_SALT", SECRET)


def shown(*options: str) -> str:
    result = CliRunner().invoke(app, ["show", *options])
    assert result.exit_code == 0, result.output
    assert SECRET not in result.output
    return result.output


def test_every_setting_is_shown_with_its_value_and_origin() -> None:
    found = json.loads(shown("--json"))
    assert list(found) == [row.name for row in setting_table()]
    assert found["CORRENTE_MODEL__MAX_ITEMS"]["value"] == 2000
    assert found["CORRENTE_MODEL__MAX_ITEMS"]["origin"].endswith("corrente.toml, line 3")
    assert found["CORRENTE_PORT"] == {"value": 8080, "origin": "default"}
    assert found["CORRENTE_REDIS"] == {"value": "redis://…@host:6379/0", "origin": "environment"}


def test_of_a_secret_it_is_shown_only_whether_it_is_set() -> None:
    found = json.loads(shown("--json"))
    assert found["CORRENTE_REDIS_SENTINEL_PASSWORD"]["value"] == "…"
    assert found["CORRENTE_MODEL__VISITOR_SALT"]["value"] == "…"
    assert found["CORRENTE_REDIS_PASSWORD"]["value"] == ""


def test_the_settings_that_are_given_can_be_shown_alone() -> None:
    lines = shown("--given").splitlines()
    assert len(lines) == 7
    assert any(line.startswith("CORRENTE_LOG_LEVEL ") and "corrente.toml, line 1" in line for line in lines)
    assert "CORRENTE_PORT" not in shown("--given")
