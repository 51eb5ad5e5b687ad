"""The ACL line of the page about Redis, as it stands: enough for everything, and nothing in it is spare."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
import redis
from typer.testing import CliRunner

from stream.access.audit_cli import app as audit
from stream.access.key_store import KeyStore
from stream.access.keys_cli import app as keys
from stream.catalogue.item import Item
from stream.catalogue.profile import Profile
from stream.catalogue_store.store import CatalogueStore, Write
from stream.doctor.findings import Severity
from stream.doctor.redis import check_rights
from stream.settings import load_settings
from stream.versions import Policy, ShardReport, VersionStore
from stream.versions.cli import app
from stream.versions.compaction import compact
from tests.connections.redis_side import USER, RedisSide, documented_rights, redis_side
from tests.stream.versions.resharding.test_merge_shards import START, Learning, merged, tables_of

NARROW = Policy(keep_last=1, keep_minutes=0, keep_hours=0, keep_days=0)
RIGHTS = [right for right in documented_rights() if right.startswith("+")]
PLACES = {"~corrente:*": "resetkeys", "&corrente:*": "resetchannels"}
"""Keys and channels that a user may reach, and the rule that takes them away."""


@pytest.fixture(scope="module")
def side(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSide]:
    with redis_side("user", tmp_path_factory.mktemp("redis")) as found:
        yield found


def everything(side: RedisSide, model: str) -> None:
    """All that workers, servers and commands do with Redis; raises if something of it doesn't work."""
    environment = {**side.environment, "CORRENTE_MODEL_NAME": model}
    store = VersionStore.connect(load_settings(environment).redis_address, model)
    try:
        assert not any("refuses INFO" in problem for problem in store.redis_problems())
        assert store.announcing_problem() is None
        heard = store.announcements(wait_seconds=0.1)
        next(heard)
        # A worker of each shard publishes, and a server hears of it and reads it.
        shards = [Learning(store, shard, 2) for shard in range(2)]
        for each in shards:
            version = each.learn(12)
            assert tables_of(store, each.shard.partition, version) == each.shard.tables
        for _ in range(3):
            version = shards[0].learn(3)
        assert any(announcement and announcement.number for announcement in itertools.islice(heard, 20))
        heard.close()
        assert store.served() == version
        assert store.report(0, shards[0].claim, "ada", ShardReport())
        assert store.reporting(60.0) == ["ada"]
        assert not [each for each in store.stopped_shards(START) if each.shard == 0]
        assert check_rights(store)[0].severity is Severity.OK
        # People look at versions and roll back.
        for words in (
            ["list"],
            ["show", version.id[:8]],
            ["diff", "1", "latest"],
            ["rollback", "2", "--why", "a look"],
            ["follow", "--why", "back"],
            ["history"],
        ):
            ran = CliRunner().invoke(app, words, env=environment)
            assert ran.exit_code == 0, f"{words}: {ran.output}"
            assert "Redis refused" not in ran.output
        # A key is made and used, and somebody looks at the trail.
        for command, words in (
            (keys, ["create", "--scope", "all", "--owner", "ada"]),
            (keys, ["list"]),
            (audit, ["list"]),
            (audit, ["export"]),
        ):
            ran = CliRunner().invoke(command, words, env=environment)
            assert ran.exit_code == 0, f"{words}: {ran.output}"
        KeyStore(store.space).note_uses({"0123456789ab": START})
        # A shop writes its catalogue, and a server follows it.
        catalogue = CatalogueStore(store)
        heard = catalogue.announcements(wait_seconds=0.1)
        next(heard)
        catalogue.items.write([Write("cup", Item(title="Cup")), Write("pot", None)])
        assert any(itertools.islice(heard, 20)), "the change is announced"
        heard.close()
        catalogue.users.write([Write("ada", Profile(country="CH"))])
        catalogue.users.write([Write("ada", None)])
        assert (catalogue.items.count(), catalogue.users.count()) == (1, 0)
        assert [each.id for each in catalogue.items.page(None, 10)[0]] == ["cup"]
        (whole,) = catalogue.everything()
        assert len(whole.documents) == 2
        changes = catalogue.changes(whole.catalogue, 0, 10)
        assert changes is not None
        assert [item for item, _ in changes.documents] == [b"cup", b"pot"]
        # Workers tidy up, heal, stop; their shards are merged, and what was before goes.
        assert compact(store, 0, NARROW, START + 10.0).versions_dropped > 0
        side.client().delete(store.keys.states(1))
        assert store.mend_index(1) != []
        for each in shards:
            store.leave(each.claim)
        merged(store)
        one = Learning(store, 0, 1, stated=1)
        one.learn(3)
        one.learn(3)
        for round_ in range(3):
            compact(store, 0, NARROW, time.time() + 1e6 + round_)
        assert side.client().scard(store.keys.retired) == 0, "states of shards that were merged go with their versions"
    finally:
        store.close()


def test_the_documented_rights_suffice(side: RedisSide) -> None:
    with side.client() as admin:
        admin.execute_command("ACL", "LOG", "RESET")
        everything(side, "suffice")
        denied = {entry["object"] for entry in admin.acl_log()}
    # redis-py names itself, and snapshots are looked for; both go on if they may not.
    assert denied <= {"client|setinfo", "config|get"}


@pytest.mark.parametrize("right", [*RIGHTS, *PLACES])
def test_none_of_the_documented_rights_is_spare(side: RedisSide, right: str) -> None:
    with side.client() as admin:
        admin.script_flush()  # as on a Redis that has never seen Corrente
        admin.execute_command("ACL", "SETUSER", USER, PLACES.get(right) or f"-{right[1:]}")
        admin.execute_command("ACL", "LOG", "RESET")
        try:
            with pytest.raises((AssertionError, redis.exceptions.RedisError)):
                everything(side, f"without-{[*RIGHTS, *PLACES].index(right)}")
            denied = {entry["object"]: entry["reason"] for entry in admin.acl_log()}
        finally:
            admin.execute_command("ACL", "SETUSER", USER, right)
    assert right[1:] in denied or {"~": "key", "&": "channel"}.get(right[0]) in denied.values()
