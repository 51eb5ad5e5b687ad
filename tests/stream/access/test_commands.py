"""`corrente keys` and `corrente audit`, as typed: a key is shown once, and every act is in the trail."""

from __future__ import annotations

import json
import time

import pytest
from typer.testing import CliRunner, Result

from stream.access.acts import READ_VISITORS, Caller, hidden_visitor
from stream.access.audit import AuditTrail
from stream.access.audit_cli import app as audit
from stream.access.keys_cli import app as keys
from stream.access_settings import KEY_FORM
from stream.settings import load_settings
from stream.versions import PINNED, VersionStore
from tests.stream.access.conftest import RedisAt

MODEL = ("--model", "shop")


@pytest.fixture(autouse=True)
def _redis(redis_at: RedisAt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRENTE_REDIS", redis_at.url)


def typed(app: object, *words: str, code: int = 0) -> Result:
    ran = CliRunner().invoke(app, [*words, *MODEL])
    assert ran.exit_code == code, ran.output
    return ran


def create(*more: str) -> dict:
    words = ("create", "--scope", "events:write", "--owner", "till", "--json", *more)
    return json.loads(typed(keys, *words).stdout)


def test_a_key_is_all_that_create_prints_on_standard_output_and_is_shown_nowhere_else() -> None:
    ran = typed(keys, "create", "--scope", "events:write", "--scope", "catalogue:write", "--owner", "till")
    key = ran.stdout.strip()
    assert KEY_FORM.fullmatch(key)
    assert "opens model 'shop': events:write, catalogue:write" in ran.stderr
    assert key not in ran.stderr
    for words in (("list",), ("list", "--json")):
        assert key[9:25] not in typed(keys, *words).output
    assert key[9:25] not in typed(audit, "list").output


def test_the_list_has_owner_scopes_state_and_last_use(redis_at: RedisAt) -> None:
    used, revoked, ends = create("--note", "ground floor"), create(), create("--expires-days", "2")
    typed(keys, "revoke", revoked["id"])
    store = VersionStore.connect(redis_at.url, "shop")
    store.redis.hset(store.keys.keys_used, used["id"], "1700000000")
    store.close()
    rows = {row["id"]: row for row in json.loads(typed(keys, "list", "--json").stdout)}
    assert [rows[each["id"]]["state"] for each in (used, revoked, ends)] == ["active", "revoked", "active"]
    assert rows[used["id"]]["last_used_at"] == 1_700_000_000
    assert rows[used["id"]]["note"] == "ground floor"
    assert rows[ends["id"]]["expires_at"] == pytest.approx(time.time() + 2 * 86_400, abs=600)
    assert all("digest" not in row and "key" not in row for row in rows.values())
    assert used["id"] in typed(keys, "list").stdout


def test_quotas_are_shown_and_kept_by_a_rotation() -> None:
    free, limited = create(), create("--lists-a-second", "50", "--events-a-day", "1000000")
    rotated = json.loads(typed(keys, "rotate", limited["id"], "--json").stdout)
    rows = {row["id"]: row for row in json.loads(typed(keys, "list", "--json").stdout)}
    for made, lists, events in ((free, None, None), (limited, 50, 1_000_000), (rotated, 50, 1_000_000)):
        assert (rows[made["id"]]["lists_a_second"], rows[made["id"]]["events_a_day"]) == (lists, events)


def test_rotate_prints_the_new_key_and_says_when_the_old_one_ends() -> None:
    old = create()
    ran = typed(keys, "rotate", old["id"], "--overlap-hours", "1")
    assert KEY_FORM.fullmatch(ran.stdout.strip())
    assert f"key {old['id']} ends at 20" in ran.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("create", "--scope", "everything", "--owner", "a"),
            "there is no scope 'everything'. There are: events:write",
        ),
        (
            ("create", "--scope", "all", "--owner", "a", "--lists-a-second", "0"),
            "--lists-a-second is a number from 1 to 1,000,000,000,000; leave it out for no limit",
        ),
        (("revoke", "abc"), "has no key 'abc'"),
        (("rotate", "abc"), "has no key 'abc'"),
    ],
)
def test_what_can_not_be_done_is_one_line(words: tuple[str, ...], said: str) -> None:
    ran = typed(keys, *words, code=1)
    assert said in ran.stderr
    assert "Traceback" not in ran.output


def test_without_redis_a_command_says_so() -> None:
    ran = CliRunner().invoke(keys, ["list", "--redis", "redis://127.0.0.1:1/0"])
    assert ran.exit_code == 1
    assert "Redis at redis://127.0.0.1:1/0" in ran.stderr
    assert "Set CORRENTE_REDIS or --redis" in ran.stderr


def test_without_a_key_the_list_names_the_command_that_makes_one() -> None:
    assert "corrente keys create --scope all --owner NAME" in typed(keys, "list").stdout
    assert json.loads(typed(keys, "list", "--json").stdout) == []


def test_the_trail_has_who_what_when_why_and_from_where() -> None:
    made = create("--why", "a new till")
    typed(keys, "revoke", made["id"], "--why", "lost")
    newest, first = json.loads(typed(audit, "list", "--json").stdout)
    assert (first["what"], first["target"], first["why"]) == ("keys.create", f"key {made['id']} of till", "a new till")
    assert (newest["what"], newest["why"]) == ("keys.revoke", "lost")
    assert first["who"]
    assert first["from"].startswith("command on ")
    assert first["at"].endswith("Z")
    assert len(json.loads(typed(audit, "list", "--limit", "1", "--json").stdout)) == 1
    assert "keys.revoke" in typed(audit, "list").stdout


def test_an_export_is_a_line_of_json_for_each_act_oldest_first(
    redis_at: RedisAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stream.access.audit.PAGE", 2)  # several pages
    made = [create()["id"] for _ in range(5)]
    lines = [json.loads(line) for line in typed(audit, "export").stdout.splitlines()]
    assert [line["target"] for line in lines] == [f"key {key} of till" for key in made]
    assert len({line["id"] for line in lines}) == 5
    assert typed(audit, "export", "--since", "2999-01-01").stdout == ""
    assert len(typed(audit, "export", "--since", "2020-01-01T00:00:00Z").stdout.splitlines()) == 5
    assert "2026-01-31" in typed(audit, "export", "--since", "yesterday", code=2).stderr


def test_readings_of_one_visitor_are_found_by_the_id(redis_at: RedisAt) -> None:
    store = VersionStore.connect(redis_at.url, "shop")
    trail, salt = AuditTrail(store.space), load_settings().model.visitor_salt
    support = Caller("key 1 of support", "192.0.2.1")
    for visitor in ("ada", "eve", "ada"):
        target = f"GET /v1/users/{{user}} of user {hidden_visitor(visitor, salt)}"
        trail.note(support.act(READ_VISITORS, target))
    trail.note(support.act("alias.move", f"not a reading of {hidden_visitor('ada', salt)}"))
    store.close()
    found = json.loads(typed(audit, "list", "--visitor", "ada", "--json").stdout)
    assert [row["what"] for row in found] == [READ_VISITORS] * 2
    assert found[0]["id"] > found[1]["id"], "the newest first"
    assert json.loads(typed(audit, "list", "--visitor", "ada", "--limit", "1", "--json").stdout) == found[:1]
    assert json.loads(typed(audit, "list", "--visitor", "bob", "--json").stdout) == []
    assert len(json.loads(typed(audit, "list", "--json").stdout)) == 4


def test_moves_of_aliases_and_rollbacks_by_commands_are_in_the_trail(redis_at: RedisAt) -> None:
    store = VersionStore.connect(redis_at.url, "shop")
    store.redis.hset(store.keys.version(3), "id", "x")
    store.move_alias(PINNED, 3, who="ada", why="bad lists", now=5.0)
    store.move_alias(PINNED, None, who="bob", why="mended", now=6.0)
    store.close()
    newest, first = json.loads(typed(audit, "list", "--json").stdout)
    assert (first["who"], first["what"], first["target"]) == ("ada", "alias.move", "pinned to version 3")
    assert (newest["who"], newest["target"], newest["why"]) == ("bob", "pinned to no version", "mended")


def test_an_act_that_redis_may_not_record_is_not_carried_out(redis_at: RedisAt) -> None:
    """A user of Redis without the right to append can't change keys or aliases unseen."""
    redis_at.client.execute_command("ACL", "SETUSER", "unseen", "on", ">secret", "~corrente:*", "&*", "+@all", "-xadd")
    url = redis_at.url.replace("://", "://unseen:secret@")
    store = VersionStore.connect(url, "shop")
    store.redis.hset(store.keys.version(3), "id", "x")
    try:
        with pytest.raises(Exception, match="can't run this command"):
            store.move_alias(PINNED, 3, who="ada", why="", now=5.0)
        assert store.aliases() == {}
        ran = CliRunner().invoke(keys, ["create", "--scope", "all", "--owner", "a", *MODEL, "--redis", url])
        assert ran.exit_code == 1
        assert redis_at.client.hlen(store.keys.keys) == 0
    finally:
        store.close()
        redis_at.client.execute_command("ACL", "DELUSER", "unseen")


def test_the_trail_is_bounded_by_number_and_age(redis_at: RedisAt) -> None:
    store = VersionStore.connect(redis_at.url, "shop")
    trail, client = store.keys.audit, redis_at.client
    with client.pipeline() as pipe:
        for number in range(3000):  # long ago: the first day of the epoch
            pipe.xadd(trail, {"act": b'{"who":"a","what":"b","target":"c"}'}, id=f"{number + 1}-0")
        pipe.execute()
    create()
    assert client.xlen(trail) <= 101, "acts of more than 400 days ago are cut off, but for a part of a block"
    for _ in range(3):
        create()
    assert json.loads(typed(audit, "list", "--json").stdout)[0]["what"] == "keys.create"
    store.close()


def test_a_public_key_and_its_secret_are_two_lines_and_the_secret_is_shown_nowhere_else() -> None:
    ran = typed(keys, "create", "--public", "--owner", "pages", "--origin", "https://shop.example")
    key, secret = ran.stdout.split()
    assert key.startswith("corrente_public_")
    assert secret.startswith("corrente_signing_")
    assert "acts for visitors of model 'shop', from pages of https://shop.example" in ran.stderr
    (row,) = json.loads(typed(keys, "list", "--json").stdout)
    assert (row["public"], row["scopes"]) == (True, ["events:write", "recommendations:read"])
    rotated = json.loads(typed(keys, "rotate", row["id"], "--json").stdout)
    assert rotated["signing_secret"] not in {secret, key}
    assert rotated["key"].startswith("corrente_public_")
    for words in ((keys, "list"), (keys, "list", "--json"), (audit, "list"), (audit, "export")):
        shown = typed(*words).output
        assert secret[17:] not in shown
        assert rotated["signing_secret"][17:] not in shown


def test_a_public_key_needs_origins_and_has_no_scopes_of_ones_own() -> None:
    origin = ("--origin", "https://shop.example")
    assert "needs the origins" in typed(keys, "create", "--public", "--owner", "pages", code=1).stderr
    assert (
        "leave --scope out"
        in typed(keys, "create", "--public", "--scope", "all", "--owner", "p", *origin, code=2).stderr
    )
    assert "needs a scope" in typed(keys, "create", "--owner", "pages", *origin, code=1).stderr
    assert json.loads(typed(keys, "list", "--json").stdout) == []
