"""The visitor salt: never in a manifest, compared by a digest, hidden wherever an old manifest still carries it.

Visitors are kept under a hash with a secret salt. A model's workers and servers must have the same salt, or none of
them recognises a visitor; anyone else must not have it, or they could hash a list of user ids and look them up.
Manifests therefore carry `visitor_salt_digest`, HMAC-SHA256 of a fixed message under the salt: it is enough to refuse a
wrong salt and of no use for hashing. Manifests of release 0.1 carry `visitor_salt` itself; they load, and every answer,
page, log and command shows the digest instead.

This file decides what a manifest says about the salt, and which salts are good enough.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from stream.models.settings import RENAMED, ModelSettings, with_new_names
from stream.versions.errors import UnknownFormat, WrongSalt

SALT = "visitor_salt"
SALT_DIGEST = "visitor_salt_digest"
"""Names among a manifest's settings: of release 0.1, and of today."""

LEAST_SALT_BYTES = 16
"""128 bits, if they are random: beyond what can be found by trying salts against a known digest."""

_MESSAGE = b"corrente: digest of the visitor salt"


@lru_cache(maxsize=16)  # each publish needs it twice; a process sees one salt, or two
def salt_digest(salt: str) -> str:
    """HMAC-SHA256 of a fixed message under the salt, 64 hexadecimal digits."""
    return hmac.new(salt.encode(), _MESSAGE, hashlib.sha256).hexdigest()


def without_salt(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Model settings as a manifest carries and shows them: the digest of the salt instead of the salt.

    >>> sorted(without_salt({"seed": 1, "visitor_salt": "secret"}))
    ['seed', 'visitor_salt_digest']
    """
    shown = {name: value for name, value in settings.items() if name != SALT}
    if SALT in settings:
        shown[SALT_DIGEST] = salt_digest(settings[SALT])
    return shown


def redacted(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest as it may be shown, printed or logged. Its bytes no longer give the version's id."""
    return {**manifest, "settings": without_salt(manifest["settings"])}


def comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a manifest of any release, under today's names and without the salt."""
    return with_new_names(without_salt(settings), RENAMED)


def check_salt(settings: Mapping[str, Any], visitor_salt: str) -> None:
    """Refuse a salt that is not the one of a version. Settings that say nothing about a salt agree with every one.

    Args:
        settings: of the version's manifest.
        visitor_salt: of this process.

    Raises:
        WrongSalt: they differ.
    """
    published = salt_digest(settings[SALT]) if SALT in settings else settings.get(SALT_DIGEST)
    own = salt_digest(visitor_salt)
    if published is not None and not hmac.compare_digest(published, own):
        raise WrongSalt(
            "the version was published with another visitor salt than this process has (digests "
            f"{published[:8]}… and {own[:8]}…), so no visitor would be recognised. Set CORRENTE_MODEL__VISITOR_SALT to "
            "the salt of the model's workers; to change a model's salt, give it another CORRENTE_MODEL_NAME (see "
            "docs/how-to/change-the-visitor-salt.md)"
        )


def settings_of(settings: Mapping[str, Any], visitor_salt: str) -> ModelSettings:
    """The model settings of a version, from its manifest and this process's salt.

    A manifest of release 0.1 carries its own salt, which is used whatever this process has.

    Args:
        settings: of the version's manifest (`version.settings`).
        visitor_salt: of this process.

    Raises:
        WrongSalt: the manifest was published with another salt.
        UnknownFormat: it has a setting or a value that this release does not know.
    """
    stored = dict(settings)
    if SALT not in stored:
        check_salt(settings, visitor_salt)
        stored = {**{name: value for name, value in settings.items() if name != SALT_DIGEST}, SALT: visitor_salt}
    try:
        return ModelSettings(**stored)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UnknownFormat(
            f"the version has settings that this release does not know ({wrong}); upgrade this process to the release "
            "of the worker that published it"
        ) from None


def salt_problem(salt: str) -> str | None:
    """A sentence about a salt that could be guessed, with what would be right; None if the salt is good enough.

    >>> salt_problem("0123456789abcdef") is None
    True
    """
    if salt == ModelSettings.model_fields[SALT].default:
        found = "the visitor salt is the default, which everyone knows"
    elif len(salt.encode()) < LEAST_SALT_BYTES:
        found = f"the visitor salt has {len(salt.encode())} bytes and could be guessed"
    else:
        return None
    return (
        f"{found}: set CORRENTE_MODEL__VISITOR_SALT to {LEAST_SALT_BYTES} random bytes or more, for example from "
        "`openssl rand -hex 32`. A model keeps the salt that it has; docs/how-to/change-the-visitor-salt.md shows how "
        "to go over to another one"
    )
