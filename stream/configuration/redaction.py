"""Secrets in texts for people: passwords in addresses, and settings that are secret as a whole.

This file decides what is left out of messages, logs and lists of settings. It hides too much rather than too little: a
password may have any character, so everything between `://` and the last `@` of a word goes.
"""

from __future__ import annotations

import re

HIDDEN = "…"
SECRET_NAMES = ("PASSWORD", "SECRET", "SALT", "TOKEN", "CREDENTIAL", "JAAS", "PASSPHRASE", "API_KEY", "FIRST_KEY")
"""Parts of the name of a setting whose value is never shown."""

_USER_PART = re.compile(r"(?P<scheme>\w[\w+.-]*://)(?P<secret>[^\n]*)@")
_OPTION = re.compile(r"(?P<name>[?&;]\w*(?:password|secret|token)\w*=)[^&#\s'\"]*", re.IGNORECASE)
_NO_HOST = re.compile(r"(?P<scheme>\bredis\w*(?:\+\w+)?://):[^\n'\"]*")


def is_secret(name: str) -> bool:
    """Return True if the value of this setting must not be shown.

    >>> is_secret("CORRENTE_REDIS_PASSWORD"), is_secret("CORRENTE_REDIS_PASSWORD_FILE"), is_secret("CORRENTE_REDIS")
    (True, False, False)
    """
    return not name.upper().endswith(("_FILE", "_URL")) and any(part in name.upper() for part in SECRET_NAMES)


def without_secrets(text: str) -> str:
    """A text without the users and passwords of the addresses in it.

    >>> without_secrets("redis://me:se/cr#t@host:6379/0")
    'redis://…@host:6379/0'
    >>> without_secrets("Redis at redis://:p@ss?w@rd@host:6379/0?sentinel_password=x, no answer")
    'Redis at redis://…@host:6379/0?sentinel_password=… no answer'
    >>> without_secrets("redis://:forgot-the-host")
    'redis://…'
    """
    text = _USER_PART.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _NO_HOST.sub(rf"\g<scheme>{HIDDEN}", text)
    return _OPTION.sub(rf"\g<name>{HIDDEN}", text)
