"""The visitor salt is in no byte of Redis, and a process with another one is refused with the setting to correct."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from stream.models.settings import ModelSettings
from stream.settings import load_settings
from stream.versions import Policy, UnknownFormat, VersionStore, WrongSalt, compaction, salt_problem, settings_of
from stream.versions.compaction import compact
from stream.versions.manifest import write_manifest
from stream.versions.salt import check_salt, redacted, salt_digest, without_salt
from stream.versions.storage import chunks
from tests.stream.versions.redis_bytes import every_byte

SALT = "a salt of this test, 0123456789"
OTHER = "another salt of this test, 9876"


def settings(salt: str, **more) -> dict:
    return ModelSettings(visitor_salt=salt, **more).model_dump(mode="json")


def publish(publishing, salt, *rows):
    publishing.now += 1
    publishing.learner.write(*rows)
    return publishing.store.publish(
        publishing.claim,
        publishing.learner.checkpoint(),
        settings=settings(salt),
        code_version="1.0",
        now=publishing.now,
    )


def test_no_byte_in_redis_has_the_salt(publishing, monkeypatch):
    monkeypatch.setattr(compaction, "CHAIN_BYTES", 3000)
    monkeypatch.setattr(compaction, "FOLD_RUN", 3)
    monkeypatch.setattr(chunks, "ALONE_BYTES", 300)
    store = publishing.store
    store.redis.flushdb()
    publishing.claim = store.claim(0, worker="w", token="t", now=1.0, visitor_salt=SALT)
    publishing.now = 1_000_020.0 - 1
    policy = Policy(keep_last=2, keep_minutes=10, keep_hours=0, keep_days=0)
    for number in range(130):
        publish(publishing, SALT, *range(number, number + 20))
        if number % 10 == 9:
            compact(store, 0, policy, publishing.now)
    store.move_alias("pinned", store.latest().number, who="ada", why="", now=1.0)
    found = every_byte(store.redis)
    codecs = {
        ref.codec for record in compaction._ShardStates(store, 0, policy).records.values() for ref in record.delta
    }
    assert "safetensors+zstd" in codecs, "packed chunks were among what was searched"
    assert any(salt_digest(SALT).encode() in value for value in found), "and manifests"
    assert [value for value in found if SALT.encode() in value] == []


def test_every_manifest_that_is_written_has_the_digest_in_place_of_the_salt():
    version, manifest = write_manifest(
        number=1,
        parent=None,
        lineage="l",
        now=1.0,
        model="m",
        shards={},
        metrics={},
        drift={},
        settings=settings(SALT),
        code_version="1",
    )
    stored = msgspec.json.decode(manifest)["settings"]
    assert stored == version.settings
    assert "visitor_salt" not in stored
    assert stored["visitor_salt_digest"] == salt_digest(SALT) != salt_digest(OTHER)
    assert len(bytes.fromhex(salt_digest(SALT))) == 32


def test_settings_are_made_of_the_manifest_and_ones_own_salt():
    whole = ModelSettings(max_items=99, seed=4, visitor_salt=SALT)
    assert settings_of(without_salt(whole.model_dump(mode="json")), SALT) == whole
    assert settings_of(whole.model_dump(mode="json"), OTHER) == whole, "a manifest of release 0.1 has its own salt"
    assert settings_of({"items": 99, "seed": 4}, SALT) == whole, "and one without any salt agrees with every one"
    with pytest.raises(UnknownFormat, match=r"colour: Extra inputs are not permitted.*upgrade this process"):
        settings_of({"colour": 1, **without_salt(settings(SALT))}, SALT)


@pytest.mark.parametrize("stored", [settings(SALT), without_salt(settings(SALT))], ids=["release 0.1", "today"])
def test_another_salt_is_refused_with_the_setting_to_correct(stored):
    check_salt(stored, SALT)
    with pytest.raises(
        WrongSalt, match=r"CORRENTE_MODEL__VISITOR_SALT .*docs/how-to/change-the-visitor-salt\.md"
    ) as refused:
        check_salt(stored, OTHER)
    assert SALT not in str(refused.value)
    assert OTHER not in str(refused.value)


def test_a_claim_with_another_salt_leaves_the_owner_undisturbed(publishing):
    store = publishing.store
    publish(publishing, SALT, 1)
    with pytest.raises(WrongSalt):
        store.claim(0, worker="wrong", token="x", now=1.0, visitor_salt=OTHER)
    assert publish(publishing, SALT, 2).number == 2


def test_shards_of_two_salts_never_are_one_model(store, another):
    """Both workers started before there was a version, so that no claim could tell."""
    first, second = another(store, 0, token="a"), another(store, 1, token="b")
    version = publish(first, SALT, 1)
    with pytest.raises(WrongSalt):
        publish(second, OTHER, 1)
    assert store.latest() == version
    assert publish(second, SALT, 2).number == 2


def test_a_diff_compares_digests_and_todays_names(store, publishing):
    older = publish(publishing, SALT, 1)
    old_names = {"items": 64, "seed": 1, "visitor_salt": SALT}
    new_names = {"max_items": 65, "seed": 1, "visitor_salt_digest": salt_digest(OTHER)}
    manifests = [{**older.manifest, "settings": each} for each in (old_names, new_names)]
    for number, manifest in enumerate(manifests, start=8):
        store.redis.hset(
            store.keys.version(number),
            mapping={"manifest": msgspec.json.encode(manifest, order="deterministic"), "id": digest_of(manifest)},
        )
    assert store.diff(8, 9)["settings"] == [
        {"name": "max_items", "from": 64, "to": 65, "change": 1},
        {"name": "visitor_salt_digest", "from": salt_digest(SALT), "to": salt_digest(OTHER)},
    ]
    assert redacted(manifests[0])["settings"] == without_salt(old_names)


def digest_of(manifest) -> str:
    return hashlib.sha256(msgspec.json.encode(manifest, order="deterministic")).hexdigest()


def test_settings_in_a_traceback_or_a_log_line_do_not_show_the_salt():
    assert SALT not in repr(ModelSettings(visitor_salt=SALT))
    assert SALT not in f"{load_settings({'CORRENTE_MODEL__VISITOR_SALT': SALT})!r}"


@pytest.mark.parametrize(
    ("salt", "problem"),
    [
        ("corrente", "the default, which everyone knows"),
        ("short", "has 5 bytes and could be guessed"),
        ("fifteen bytes !", "has 15 bytes and could be guessed"),
        ("", "has 0 bytes and could be guessed"),
        ("sixteen bytes !!", None),
        ("ääääääää", None),
    ],
)
def test_a_weak_salt_is_reported_with_what_would_be_right(salt, problem):
    found = salt_problem(salt)
    assert (found is None) == (problem is None)
    if problem is not None:
        assert problem in found
        assert "openssl rand -hex 32" in found
        assert "docs/how-to/change-the-visitor-salt.md" in found


def test_a_store_of_another_model_in_the_same_redis_may_have_another_salt(shared_redis, publishing):
    publish(publishing, SALT, 1)
    other = VersionStore.connect(shared_redis.url, f"{publishing.store.model}-other")
    assert other.claim(0, worker="w", token="t", now=1.0, visitor_salt=OTHER).head is None
    other.close()
