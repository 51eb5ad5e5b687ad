"""The real redis-server and stores that the tests of versions have."""

from tests.stream.versions.conftest import new_store, shared_redis, store

__all__ = ["new_store", "shared_redis", "store"]
