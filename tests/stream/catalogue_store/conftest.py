"""The real redis-server that the tests of versions have, and catalogues of models of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from stream.catalogue_store.store import CatalogueStore
from stream.versions import VersionStore
from tests.stream.versions.conftest import RedisServer, own_redis, shared_redis

__all__ = ["own_redis", "shared_redis"]

_numbers = itertools.count(1)


@pytest.fixture
def versions(shared_redis: RedisServer) -> Iterator[VersionStore]:
    store = VersionStore.connect(shared_redis.url, f"catalogue-{next(_numbers)}")
    yield store
    store.close()


@pytest.fixture
def store(versions: VersionStore) -> CatalogueStore:
    return CatalogueStore(versions)
