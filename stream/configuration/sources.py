"""Values of settings from variables of the environment, and from the files that variables name.

`CORRENTE_REDIS_PASSWORD_FILE=/run/secrets/redis` sets `CORRENTE_REDIS_PASSWORD` to the contents of that file, as
orchestrators mount secrets. Every setting can be given so.

This file decides which variables there are beside the settings' own, and how such a file is read.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from stream.configuration.errors import WrongSetting
from stream.configuration.nearest import shown, suggestion

FROM_FILE = "_FILE"
MOST_BYTES = 1_048_576

log = logging.getLogger(__name__)  # of the standard library: it writes to stderr even before logs are configured


class Given(NamedTuple):
    """One value as it was given.

    Attributes:
        value: text from a variable or a file; any type of TOML from a file of settings.
        origin: place, for people: `environment`, or a file with its line.
        label: the setting as it is written there, for messages.
    """

    value: Any
    origin: str
    label: str


def under_present_names(variables: Mapping[str, str], renamed: Mapping[str, str]) -> dict[str, str]:
    """Variables with old names replaced by present ones; each logs one line.

    Raises:
        WrongSetting: a setting is given under both names.
    """
    named = dict(variables)
    for old, new in renamed.items():
        for ending in ("", FROM_FILE):
            if old + ending not in named:
                continue
            if new in named or new + FROM_FILE in named:
                raise WrongSetting(
                    f"{old}{ending}={shown(old, named[old + ending])}: this is the old name of {new}, which is set "
                    "too; remove it"
                )
            log.warning("%s is deprecated: it is called %s now", old, new)
            named[new + ending] = named.pop(old + ending)
    return named


def from_environment(variables: Mapping[str, str], known: Collection[str], prefix: str) -> dict[str, Given]:
    """The value of each setting that a variable gives, by itself or by naming a file.

    Args:
        variables: those that start with the prefix.
        known: names of all settings.
        prefix: of all names.

    Raises:
        WrongSetting: a variable names no setting, a setting is given twice, or a file can't be read.
    """
    found: dict[str, Given] = {}
    for variable, text in variables.items():
        if variable in known:
            found[variable] = Given(text, "environment", variable)
            continue
        name = variable.removesuffix(FROM_FILE)
        if name == variable or name not in known:
            candidates = [each + FROM_FILE for each in known] if name != variable else known
            value = shown(name, text, known, prefix)
            raise WrongSetting(
                f"{variable}={value}: there is no such setting. {suggestion(variable, candidates, prefix)}"
            )
        if name in variables:
            raise WrongSetting(f"{variable}: {name} is set too; remove one of them")
        found[name] = Given(read_value(Path(text), variable), f"{text} ({variable})", variable)
    return found


def read_value(path: Path, label: str) -> str:
    """The value in a file, without the end of its last line.

    Raises:
        WrongSetting: the file can't be read, is empty, or holds no text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise WrongSetting(f"{label}={str(path)!r}: the file has more than {MOST_BYTES:,} bytes; a value is short")
        text = content.decode()
    except OSError as error:
        raise WrongSetting(f"{label}={str(path)!r}: the file can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongSetting(f"{label}={str(path)!r}: the file holds no UTF-8 text") from None
    value = text.removesuffix("\n").removesuffix("\r")
    if not value:
        raise WrongSetting(f"{label}={str(path)!r}: the file is empty, and a value was expected in it")
    return value


def nested_values(given: Mapping[str, Given], prefix: str, nested: str) -> dict[str, Any]:
    """The values by field, those of the model in a mapping of their own.

    >>> nested_values({"C_MODEL__SEED": Given(7, "", ""), "C_PORT": Given(1, "", "")}, "C_", "__")
    {'model': {'seed': 7}, 'port': 1}
    """
    values: dict[str, Any] = {}
    for name, each in given.items():
        *tables, field = name.removeprefix(prefix).lower().split(nested)
        inside = values
        for table in tables:
            inside = inside.setdefault(table, {})
        inside[field] = each.value
    return values


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both mappings in one; what is above wins, and the model's settings are merged one by one.

    >>> merged({"model": {"seed": 1, "ranker": "blend"}}, {"model": {"seed": 2}})
    {'model': {'seed': 2, 'ranker': 'blend'}}
    """
    both = {**below, **above}
    if isinstance(below.get("model"), Mapping) and isinstance(above.get("model"), Mapping):
        both["model"] = {**below["model"], **above["model"]}
    return both
