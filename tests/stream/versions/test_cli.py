"""`corrente versions` shows and moves what the store has."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from stream.versions.cli import app


@pytest.fixture
def corrente(shared_redis, publishing, monkeypatch):
    monkeypatch.setenv("CORRENTE_REDIS", shared_redis.url)
    monkeypatch.setenv("CORRENTE_MODEL_NAME", publishing.store.model)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments, exit_code=0):
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == exit_code, result.output
        return result.output

    return run


def test_an_empty_model_has_an_empty_list(corrente):
    assert json.loads(corrente("list", "--json")) == []
    assert "version" in corrente("list")
    assert "no alias" in corrente("history")


def test_list_shows_the_newest_first_with_aliases(corrente, publishing):
    for number in range(1, 4):
        publishing.publish(number)
    publishing.store.move_alias("canary", 2, who="ada", why="", now=1.0)
    listed = json.loads(corrente("list", "--json"))
    assert [version["number"] for version in listed] == [3, 2, 1]
    assert [version["aliases"] for version in listed] == [["latest"], ["canary"], []]
    assert listed[0]["created_at"] == "1970-01-12T13:46:43.000000Z"
    assert len(json.loads(corrente("list", "--json", "--limit", "1"))) == 1
    lines = corrente("list", "--limit", "2").splitlines()
    assert lines[1].split()[:2] == ["3", listed[0]["id"][:8]]
    assert lines[2].split()[-1] == "canary"
    assert lines[3] == "1 older ones: --limit 3"


def test_list_shows_hit_rate_and_drifts_where_shards_have_them(corrente, publishing):
    publishing.learner.write(1)
    checkpoint = publishing.learner.checkpoint()
    checkpoint.state["metrics"] = {"blend": {"hr": {"10": 0.25}}}
    checkpoint.state["drift"] = {"hr_at_10": {"drifts": 2}, "gap_seconds": {"drifts": 1, "at": None}}
    publishing.publish_checkpoint(checkpoint)
    line = corrente("list").splitlines()[1].split()
    assert ("0.250" in line, line[-2:]) == (True, ["3", "latest"])


def test_show_prints_the_manifest(corrente, publishing):
    version = publishing.publish(1)
    assert json.loads(corrente("show", "1", "--json")) == {"id": version.id, **version.manifest}
    shown = corrente("show", version.id[:9])
    assert "aliases: latest" in shown
    assert '"learned": 1' in shown


def test_rollback_pins_and_follow_lets_go(corrente, publishing):
    for number in range(1, 4):
        publishing.publish(number)
    assert json.loads(corrente("rollback", "1", "--why", "bad lists", "--who", "ada", "--json"))["pinned"] == 1
    assert publishing.store.served().number == 1
    assert "version 1 is no longer pinned; following the newest, 3" in corrente("follow", "--who", "bob")
    assert publishing.store.served().number == 3
    assert "no version was pinned" in corrente("follow")
    moves = json.loads(corrente("history", "--json"))
    assert [(move["name"], move["from"], move["to"], move["who"], move["why"]) for move in moves] == [
        ("pinned", 1, None, "bob", ""),
        ("pinned", None, 1, "ada", "bad lists"),
    ]
    assert "bad lists" in corrente("history")


def test_alias_points_and_is_taken_away(corrente, publishing):
    publishing.publish(1)
    corrente("alias", "canary", "latest")
    assert publishing.store.aliases()["canary"] == 1
    corrente("alias", "canary")
    assert "canary" not in publishing.store.aliases()
    assert "always names the newest" in corrente("alias", "latest", "1", exit_code=1)


def test_diff_says_what_moved(corrente, publishing):
    first = publishing.publish(1)
    last = publishing.publish(2, 3, after_seconds=90)
    found = json.loads(corrente("diff", "1", "latest", "--json"))
    assert found["events"] == 2
    assert found["seconds"] == pytest.approx(90)
    assert found["shards"]["0"]["offsets"] == {"clicks": 2, "purchases": 1}
    assert found["metrics"] == [{"name": "0.hr_at_10", "from": 0.001, "to": 0.003, "change": pytest.approx(0.002)}]
    assert found["settings"] == found["drift"] == []
    assert (found["from"]["id"], found["to"]["id"]) == (first.id, last.id)
    assert "+2 events in 90 s" in corrente("diff", "1")


def test_what_is_not_there_ends_with_one_line(corrente, publishing):
    publishing.publish(1)
    for command in (["show", "9"], ["rollback", "nobody"], ["diff", "1", "7"], ["alias", "canary", "5"]):
        assert corrente(*command, exit_code=1).count("\n") == 1


def test_a_redis_that_is_away_is_named(corrente):
    output = corrente("list", "--redis", "redis://127.0.0.1:1/0", exit_code=1)
    assert "redis://127.0.0.1:1/0" in output
    assert "CORRENTE_REDIS" in output
