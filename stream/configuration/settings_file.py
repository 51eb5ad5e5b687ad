"""Files of settings in TOML: the same names as variables, in small letters and without `CORRENTE_`.

    kafka = "kafka:9092"
    redis_password_file = "/run/secrets/redis"

    [model]
    seed = 7

    [models.shop]
    clicks_topic = "shop-clicks"
    max_items = 50_000

`[model]` holds the settings of every model. A table `[models.NAME]` holds what differs for the model of that name: any
setting, and settings of the model by their own names. If there are such tables, the model has to be one of them.

This file decides how such a file is read, and what is said of a mistake in it: its line, and the nearest known name.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from stream.configuration.errors import WrongSetting
from stream.configuration.nearest import shown, suggestion
from stream.configuration.sources import FROM_FILE, Given, read_value

MODELS = "models"
NOT_OF_A_MODEL = frozenset({"config", "model_name"})
"""Settings that a table of one model can't hold, because they choose the table."""

_TABLE = re.compile(r"\s*\[\[?(?P<keys>[^\]]+)\]\]?\s*(?:#.*)?")
_KEY = re.compile(r"""\s*(?P<keys>(?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")

Path_ = tuple[str, ...]


class SettingsFile:
    """One file, parsed.

    Args:
        path: of the file.
        label: the variable that names it, for messages.

    Raises:
        WrongSetting: it can't be read, or is not TOML.
    """

    def __init__(self, path: Path, label: str) -> None:
        self.path = path
        try:
            text = path.read_text(encoding="utf-8")
            self.content: dict[str, Any] = tomllib.loads(text)
        except OSError as error:
            raise WrongSetting(f"{label}={str(path)!r}: the file can't be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise WrongSetting(f"{label}={str(path)!r}: the file holds no UTF-8 text") from None
        except tomllib.TOMLDecodeError as error:
            raise WrongSetting(f"{path}: not TOML: {error}") from None
        self._lines = lines_of(text)

    def values(self, known: Collection[str], prefix: str, nested: str, model_name: str) -> dict[str, Given]:
        """The value of each setting that the file gives for a model, by the name of its variable.

        Args:
            known: names of all variables.
            prefix: of all variables.
            nested: what stands between `MODEL` and the name of a setting of the model.
            model_name: of the model.

        Raises:
            WrongSetting: the file has a setting or a table that there is not, or no table for this model.
        """
        content = dict(self.content)
        models = content.pop(MODELS, {})
        found = dict(self._below((), content, known, prefix, nested))
        if MODELS not in self.content:
            return found
        if not isinstance(models, Mapping) or not all(isinstance(each, Mapping) for each in models.values()):
            raise WrongSetting(f"{self._place((MODELS,))}: models is no table; write [models.NAME]")
        for name, table in models.items():  # all of them are checked, so that a mistake is found before its model runs
            of_model = dict(self._of_model(name, table, known, prefix, nested))
            if name == model_name:
                found |= of_model
        if model_name not in models:
            raise WrongSetting(
                f"{self.path}: there is no table [models.{model_name}], and the model is {model_name!r}. Set "
                f"{prefix}MODEL_NAME, or add the table. {suggestion(model_name, list(models))}"
            )
        return found

    def model_name(self) -> str | None:
        """The name of the model that the file chooses."""
        name = self.content.get("model_name")
        return name if isinstance(name, str) else None

    def _below(
        self, path: Path_, table: Mapping[str, Any], known: Collection[str], prefix: str, nested: str
    ) -> Iterator[tuple[str, Given]]:
        for key, value in table.items():
            here = (*path, key)
            name = prefix + nested.join(here).upper()
            if (
                name not in known
                and isinstance(value, Mapping)
                and any(each.startswith(name + nested) for each in known)
            ):
                yield from self._below(here, value, known, prefix, nested)
                continue
            names = {each.removeprefix(prefix).lower().replace(nested, "."): each for each in known}
            yield self._given(here, ".".join(here), value, names)

    def _of_model(
        self, model: str, table: Mapping[str, Any], known: Collection[str], prefix: str, nested: str
    ) -> Iterator[tuple[str, Given]]:
        names = {}
        for each in known:
            of_all, _, of_model = each.removeprefix(prefix).lower().partition(nested)
            names[of_model or of_all] = each
        for key in NOT_OF_A_MODEL:
            names.pop(key, None)
        for key, value in table.items():
            yield self._given((MODELS, model, key), key, value, names)

    def _given(self, path: Path_, key: str, value: Any, names: Mapping[str, str]) -> tuple[str, Given]:
        """Name of the variable, and the value of one key, which is one of `names` or one of them with `_file`."""
        place = self._place(path)
        if key in names:
            return names[key], Given(value, place, f"{place}: {key}")
        base = key.removesuffix(FROM_FILE.lower())
        if base != key and base in names:
            if not isinstance(value, str):
                raise WrongSetting(f"{place}: {key}={value!r}: not the path of a file")
            return names[base], Given(
                read_value(Path(value), f"{place}: {key}"), f"{value} ({place})", f"{place}: {key}"
            )
        text = "" if isinstance(value, Mapping) else f"={shown(key, value, names)}"
        if isinstance(value, Mapping):  # the name of a table is misspelt: that of a setting would be no help
            names = {each.partition(".")[0]: each for each in (*names, MODELS)}
        raise WrongSetting(f"{place}: {key}{text}: there is no such setting. {suggestion(key, names)}")

    def _place(self, path: Path_) -> str:
        line = self._lines.get(path)
        return f"{self.path}, line {line}" if line else str(self.path)


def lines_of(text: str) -> dict[Path_, int]:
    r"""The line of each table and key, by their path.

    The library that parses TOML keeps no places. This looks for headers and keys at the beginnings of lines, which is
    enough to point at a line, and is used for nothing else.

    >>> lines_of('a = 1\n[models.shop]  # one\nb.c = "x"')
    {('a',): 1, ('models', 'shop'): 2, ('models', 'shop', 'b', 'c'): 3, ('models', 'shop', 'b'): 3}
    """
    found: dict[Path_, int] = {}
    table: Path_ = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.fullmatch(line):
            table = _keys(header["keys"])
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            path = (*table, *_keys(key["keys"]))
            for length in range(len(path), len(table), -1):
                found.setdefault(path[:length], number)
    return found


def _keys(text: str) -> Path_:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
