"""Keys are made, rotated and revoked; Redis has their SHA-256 and nothing else of them; each act is in the trail."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest

from stream.access.acts import Caller
from stream.access.audit import AuditTrail
from stream.access.key_store import ChangedMeanwhile, KeyStore
from stream.access.keys import KeyRecord
from stream.access.lifecycle import MadeKey, create_key, ensure_first_key, revoke_key, rotate_key
from stream.access.scopes import SCOPES, WrongKey
from stream.access_settings import KEY_FORM
from stream.versions import VersionStore
from stream.versions.storage.namespace import Namespace
from tests.stream.access.conftest import RedisAt

ADA = Caller("ada", "her desk")
NOW = 1_700_000_000.0


@pytest.fixture
def space(redis_at: RedisAt) -> Iterator[Namespace]:
    store = VersionStore.connect(redis_at.url, "shop")
    yield store.space
    store.close()


@pytest.fixture
def keys(space: Namespace) -> KeyStore:
    return KeyStore(space)


def made(keys: KeyStore, **more: object) -> MadeKey:
    given = {"scopes": ["events:write"], "owner": "till", "now": NOW, "caller": ADA, **more}
    return create_key(keys, **given)


def acts(space: Namespace) -> list[tuple[str, str, str, str, str]]:
    found = [record.act for record in AuditTrail(space).newest(100)]
    return [(act.who, act.origin, act.what, act.target, act.why) for act in found]


def test_redis_has_the_sha_256_of_a_key_and_nothing_else_of_it(keys: KeyStore, space: Namespace) -> None:
    key = made(keys, note="tills of the ground floor", why="a new shop")
    assert KEY_FORM.fullmatch(key.text)
    assert key.record.digest == hashlib.sha256(key.text.encode()).hexdigest()
    held = b"".join(
        b"".join([name, *space.redis.hgetall(name).values()]) if space.redis.type(name) == b"hash" else name
        for name in space.redis.scan_iter("*")
    )
    assert key.record.digest.encode() in held
    secret = key.text.removeprefix("corrente_").encode()
    assert not any(secret[at : at + 12] in held for at in range(0, 52, 4)), "a part of the key is kept"
    assert keys.records() == [key.record]
    assert acts(space) == [("ada", "her desk", "keys.create", f"key {key.record.id} of till", "a new shop")]


def test_no_two_keys_are_equal(keys: KeyStore) -> None:
    assert len({made(keys).text for _ in range(50)}) == 50


def test_a_rotated_key_ends_after_the_overlap_and_the_new_one_has_its_scopes(keys: KeyStore, space: Namespace) -> None:
    old = made(keys, origins=["https://shop.example"], note="n")
    new, ending = rotate_key(keys, old.record.id[:6], overlap_seconds=3600.0, now=NOW + 10, caller=ADA, why="yearly")
    assert ending.expires_at == NOW + 3610
    assert [ending.state(NOW + at) for at in (10, 3609, 3610)] == ["active", "active", "expired"]
    assert (new.record.scopes, new.record.origins, new.record.note) == (["events:write"], ["https://shop.example"], "n")
    assert new.record.replaces == old.record.id
    assert new.record.expires_at is None
    assert new.text != old.text
    assert sorted(record.id for record in keys.records()) == sorted([old.record.id, new.record.id])
    assert acts(space)[0][2:] == ("keys.rotate", f"key {old.record.id} of till by key {new.record.id}", "yearly")


def test_a_rotation_never_makes_a_key_live_longer(keys: KeyStore) -> None:
    old = made(keys, expires_at=NOW + 60)
    _, ending = rotate_key(keys, old.record.id, overlap_seconds=3600.0, now=NOW, caller=ADA)
    assert ending.expires_at == NOW + 60


@pytest.mark.parametrize("end", ["revoked", "expired"])
def test_a_key_that_is_void_is_not_rotated(keys: KeyStore, end: str) -> None:
    old = made(keys, expires_at=NOW + 60)
    if end == "revoked":
        revoke_key(keys, old.record.id, now=NOW, caller=ADA)
    with pytest.raises(WrongKey, match=f"{end}: make another one"):
        rotate_key(keys, old.record.id, overlap_seconds=1.0, now=NOW + 100, caller=ADA)
    assert len(keys.records()) == 1


def test_a_revoked_key_stays_revoked_and_is_recorded_once(keys: KeyStore, space: Namespace) -> None:
    key = made(keys)
    first = revoke_key(keys, key.record.id, now=NOW + 1, caller=ADA, why="lost")
    assert revoke_key(keys, key.record.id, now=NOW + 2, caller=ADA) == first
    assert first.state(NOW + 1e9) == "revoked"
    assert [act[2] for act in acts(space)] == ["keys.revoke", "keys.create"]


def test_of_two_changes_of_one_key_at_a_time_the_second_is_refused_and_recorded_nowhere(
    keys: KeyStore, space: Namespace
) -> None:
    key = made(keys).record
    keys.records()
    other = KeyStore(space)
    revoke_key(other, key.id, now=NOW, caller=ADA)
    with pytest.raises(ChangedMeanwhile, match="try again"):
        keys.change([(key, key)], ADA.act("keys.create", "a test"))
    assert len(acts(space)) == 2
    (record,) = keys.records()
    assert record.revoked_at == NOW


def test_a_key_is_the_model_s_own(redis_at: RedisAt, keys: KeyStore, space: Namespace) -> None:
    key = made(keys)
    other = VersionStore.connect(redis_at.url, "other")
    assert KeyStore(other.space).records() == []
    other.redis.hset(other.keys.keys, key.record.id, space.redis.hget(space.keys.keys, key.record.id))
    assert KeyStore(other.space).records() == [], "nor if somebody copies it"
    other.close()


def test_a_field_of_a_later_release_survives_a_look_and_does_not_keep_a_key_from_being_revoked(
    keys: KeyStore, space: Namespace
) -> None:
    key = made(keys).record
    raw = space.redis.hget(space.keys.keys, key.id)
    space.redis.hset(space.keys.keys, key.id, raw[:-1] + b',"quota":5}')
    assert revoke_key(keys, key.id, now=NOW, caller=ADA).revoked_at == NOW


def test_the_first_key_is_made_once(keys: KeyStore) -> None:
    text = "corrente_" + "5f" * 32
    assert ensure_first_key(keys, text, now=NOW, caller=ADA) is True
    assert ensure_first_key(keys, text, now=NOW, caller=ADA) is False
    (record,) = keys.records()
    assert (record.scopes, record.owner) == (list(SCOPES), "first key")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"scopes": []}, "needs a scope"),
        ({"scopes": ["event:write"]}, "no scope 'event:write'. There are: events:write"),
        ({"owner": " "}, "needs an owner"),
        ({"owner": "a\nb"}, "the owner has at most 200 characters and none that can't be printed"),
        ({"note": "n" * 201}, "the note has at most 200"),
        ({"origins": ["shop.example"]}, "'shop.example' is no origin of web pages: write it as https://shop.example"),
        ({"origins": ["https://shop.example/page"]}, "is no origin"),
        ({"expires_at": NOW - 1}, "would have expired already"),
    ],
    ids=["no scope", "unknown scope", "no owner", "two lines", "long note", "no scheme", "a path", "in the past"],
)
def test_what_can_not_be_right_is_refused_and_nothing_is_made(keys: KeyStore, given: dict, message: str) -> None:
    with pytest.raises(WrongKey, match=re.escape(message)):
        made(keys, **given)
    assert keys.records() == []


def test_an_id_is_found_by_its_beginning_if_only_one_has_it(keys: KeyStore) -> None:
    key = made(keys).record
    assert keys.find(key.id[:4]) == key
    for beginning, found in (("", "no key ''"), ("zz", "no key 'zz'")):
        with pytest.raises(WrongKey, match=f"model 'shop' has {found}: `corrente keys list`"):
            keys.find(beginning)
    while len(keys.records()) < 18:  # of more than sixteen ids two begin with the same digit
        made(keys)
    first = [record.id[0] for record in keys.records()]
    twice = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(WrongKey, match=f"{first.count(twice)} keys '{twice}'"):
        keys.find(twice)


def test_the_record_says_what_it_is_at_a_moment() -> None:
    record = KeyRecord("id", "d", "shop", [], "o", NOW, expires_at=NOW + 1)
    assert [record.state(NOW + at) for at in (0, 0.999, 1)] == ["active", "active", "expired"]
