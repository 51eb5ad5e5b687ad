"""Addresses of Redis: every kind, passwords with any character, and what is said of those that can't be used."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.configuration.redis_address import WrongAddress, parse_redis_address

ANY_CHARACTER = st.text(st.characters(exclude_characters="\n\r%"), min_size=1, max_size=30)
HOSTS = st.sampled_from(["h", "cache.example", "127.0.0.1", "[::1]"])


@given(password=ANY_CHARACTER, host=HOSTS, kind=st.sampled_from(["redis", "rediss", "redis+sentinel", "redis+cluster"]))
def test_a_password_may_have_any_character_and_is_not_shown(password: str, host: str, kind: str) -> None:
    behind = "/service" if "sentinel" in kind else ""
    address = parse_redis_address(f"{kind}://user:{password}@{host}:7000{behind}")
    assert (address.username, address.password) == ("user", password)
    assert address.hosts == ((host.strip("[]"), 7000),)
    shown = f"{address} {address!r}"
    other = parse_redis_address(f"{kind}://another:{password}-another@{host}:7000{behind}")
    assert shown == f"{other} {other!r}", "nothing shown depends on user or password"


@given(password=st.text(st.sampled_from(string.printable), min_size=1))
def test_a_password_of_its_own_is_taken_literally(password: str) -> None:
    assert parse_redis_address("redis://:other@h", password=password).password == password


def test_each_kind_has_its_parts() -> None:
    one = parse_redis_address("redis://h")
    assert (one.kind, one.tls, one.hosts, one.db) == ("server", False, (("h", 6379),), 0)
    assert parse_redis_address("redis://:pw@/3").hosts == (("localhost", 6379),)
    assert parse_redis_address("rediss://h:1/2?socket_timeout=0.5").options == {"socket_timeout": 0.5}
    socket = parse_redis_address("unix://:p/w@/run/redis.sock?db=4")
    assert (socket.kind, socket.path, socket.db, socket.password) == ("unix", "/run/redis.sock", 4, "p/w")
    sentinels = parse_redis_address("rediss+sentinel://a,b:1/shop/2?sentinel_tls=false")
    assert (sentinels.hosts, sentinels.service, sentinels.db) == ((("a", 26379), ("b", 1)), "shop", 2)
    assert (sentinels.tls, sentinels.sentinel_tls) == (True, False)
    assert str(sentinels) == "rediss+sentinel://a:26379,b:1/shop/2"
    cluster = parse_redis_address("redis+cluster://[::1]:1,b")
    assert (cluster.kind, cluster.hosts, str(cluster)) == (
        "cluster",
        (("::1", 1), ("b", 6379)),
        "redis+cluster://[::1]:1,b:6379",
    )


@pytest.mark.parametrize(
    ("address", "right"),
    [
        ("localhost:6379", "redis://host:6379/0"),
        ("http://secret@h", "redis://host:6379/0"),
        ("redis://:secret", "what follows the last @"),
        ("redis://h:70000", "host:port"),
        ("redis://h/shop", "no number of a database"),
        ("redis://a:1,b:2", "redis+sentinel://…/service or redis+cluster://…"),
        ("redis://secret@h", "a user without a password"),
        ("redis+sentinel://a:1", "the name of the master is missing"),
        ("redis+cluster://a:1/3", "the database 0 alone"),
        ("unix://run/redis.sock", "begins with /"),
        ("redis://h?sockettimeout=1", "there are client_name"),
        ("redis://h?socket_timeout=soon", "its option socket_timeout"),
        ("redis://h?ssl_ca_certs=/ca.pem", "write rediss://"),
        ("rediss://h?ssl_keyfile=/key.pem", "CORRENTE_REDIS_CERTIFICATE_FILE"),
    ],
)
def test_an_address_that_cannot_be_used_says_what_would_be_right(address: str, right: str) -> None:
    with pytest.raises(WrongAddress) as refused:
        parse_redis_address(address)
    assert right in str(refused.value)
    assert "secret" not in str(refused.value)
