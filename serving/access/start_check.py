"""Check of keys at the start: a server that other machines can reach needs one.

This file decides that such a server is refused while its model has no valid key, and with which words. If Redis does
not answer, the server starts and refuses every call until it does. On loopback nothing is checked.
"""

from __future__ import annotations

import socket
import time

import redis.exceptions
import structlog

from stream.access.key_store import KeyStore
from stream.settings import Settings, WrongSetting
from stream.versions import VersionStore

log = structlog.get_logger(__name__)


def require_a_key(listening: socket.socket, settings: Settings) -> None:
    """Refuse to start beyond loopback without a key that is valid or about to be made.

    Args:
        listening: bound socket, which other machines can reach.
        settings: of the server.

    Raises:
        WrongSetting: the model has no valid key. The text has the command that makes one.
    """
    if settings.first_key.get_secret_value():
        return
    store = VersionStore.connect(settings.redis_address, settings.model_name)
    try:
        records = KeyStore(store.space).records()
    except redis.exceptions.RedisError as error:
        log.warning("can't see yet whether there is a key; every call is refused until Redis answers", error=str(error))
        return
    finally:
        store.close()
    now = time.time()
    if not any(record.state(now) == "active" for record in records):
        raise WrongSetting(
            f"other machines can reach this server at {listening.getsockname()[0]}, and model {settings.model_name!r} "
            "has no valid key. Make one: corrente keys create --scope all --owner NAME; or let the server make it from "
            "a file: CORRENTE_FIRST_KEY_FILE; or bind loopback: CORRENTE_HOST=127.0.0.1 (docs/how-to/keys.md)"
        )
