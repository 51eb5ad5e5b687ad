"""Signatures and docstrings of the public Python interface.

This file decides which names are public: those of the client `corrente`, those of `stream.evaluation`, the recommender
for River, and the settings of a model.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from pydantic import BaseModel

import corrente
import stream.evaluation
from corrente.routes import Route, Routes
from docs.generate.markdown import code, fence, prose
from stream.models.estimator import BlendRanker
from stream.models.settings import ModelSettings
from stream.settings import load_settings

_ADDRESS = re.compile(r"<factory>|<(?:built-in )?(?:function|object|.* object) .*?>")


_OWNER = re.compile(r"\b(?:corrente\.\w+|collections\.abc)\.(?=[A-Z])")
"""Module in front of a type that msgspec has made of an annotation."""
_CALL = re.compile(r" -> Call\[(.*)\]$")
"""Result of a function of `corrente.calls`; the method of that name returns what stands in brackets."""

CLIENTS = ("Client", "AsyncClient")


def clients() -> str:
    return "\n\n".join(_one("corrente", getattr(corrente, name)) for name in CLIENTS)


def client_routes() -> str:
    """The method of each route, with the parameters that its call takes."""
    return "\n\n".join(
        "\n\n".join(
            (
                f"#### {code(name)}",
                fence("python", _CALL.sub(r" -> \1", _signature(route.make))),
                prose(inspect.getdoc(route) or ""),
            )
        )
        for name, route in vars(Routes).items()
        if isinstance(route, Route)
    )


def client_types() -> str:
    names = [name for name in corrente.__all__ if name not in CLIENTS]
    return "\n\n".join(_one("corrente", getattr(corrente, name)) for name in names)


def river() -> str:
    return _one("stream.models.estimator", BlendRanker)


def evaluation() -> str:
    names = sorted(stream.evaluation.__all__, key=lambda name: (name[0].isupper(), name))  # functions first
    return "\n\n".join(_one("stream.evaluation", getattr(stream.evaluation, name)) for name in names)


def settings() -> str:
    return "\n\n".join((_one("stream.settings", load_settings), _one("stream.models.settings", ModelSettings)))


def _one(module: str, thing: Any) -> str:
    parts = [f"### {code(thing.__name__)}", fence("python", f"from {module} import {thing.__name__}")]
    shown = _signature(thing)
    if shown:
        parts.append(fence("python", shown))
    parts.append(prose(inspect.getdoc(thing) or ""))
    if inspect.isclass(thing):
        methods = [f"- {code(name)}: {text}" for name, text in _methods(thing)]
        parts.append("\n".join(["Methods and properties:\n", *methods]) if methods else "")
    return "\n\n".join(part for part in parts if part)


def _signature(thing: Any) -> str:
    """The signature, a parameter a line; empty for errors, for protocols and for settings, which have tables."""
    if inspect.isclass(thing) and (
        issubclass(thing, BaseException | BaseModel) or getattr(thing, "_is_protocol", False)
    ):
        return ""
    signature = inspect.signature(thing)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "self"]
    lines = [f"    {text}," for text in _with_star(kept)]
    result = (
        "" if signature.return_annotation is inspect.Signature.empty else f" -> {_name(signature.return_annotation)}"
    )
    if inspect.isclass(thing):
        result = ""
    return "\n".join([f"{thing.__name__}(", *lines, f"){result}"]) if kept else f"{thing.__name__}(){result}"


def _with_star(parameters: Sequence[inspect.Parameter]) -> Iterator[str]:
    """Parameters as they are written, with a star before those that are given by name alone."""
    starred = False
    for each in parameters:
        if each.kind is inspect.Parameter.KEYWORD_ONLY and not starred:
            yield "*"
        starred |= each.kind in {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL}
        yield _parameter(each)


def _parameter(parameter: inspect.Parameter) -> str:
    """A parameter with its annotation and default, without quotes of annotations and addresses in memory."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not inspect.Parameter.empty:
        text += f": {_name(parameter.annotation)}"
    if parameter.default is not inspect.Parameter.empty:
        text += f" = {_shown(parameter.default)}"
    return text


def _shown(default: Any) -> str:
    """A default as it would be written: an object that is made without arguments is `Filter()`."""
    kind = type(default)
    if isinstance(default, msgspec.Struct) and default == kind():
        return f"{kind.__name__}()"
    return _ADDRESS.sub("...", repr(default))


def _name(annotation: Any) -> str:
    """An annotation as it was written: under `from __future__ import annotations` most of them are text."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return _OWNER.sub("", text)


def _methods(thing: Any) -> Iterator[tuple[str, str]]:
    """Public methods and properties that have a docstring of their own."""
    if dataclasses.is_dataclass(thing) or thing.__module__.startswith(("corrente.", "stream.", "serving.")):
        for name, member in vars(thing).items():
            documented = inspect.isfunction(member) or isinstance(member, property)
            text = inspect.getdoc(member) if documented else None
            if text and not name.startswith("_"):
                yield name + _arguments(member), " ".join(text.split("\n\n")[0].split())


def _arguments(member: Any) -> str:
    """Names of a method's arguments in brackets, with their defaults; nothing for a property."""
    if isinstance(member, property):
        return ""
    kept = [each for name, each in inspect.signature(member).parameters.items() if name != "self"]
    return f"({', '.join(_parameter(each.replace(annotation=inspect.Parameter.empty)) for each in kept)})"


SECTIONS = {
    "python-clients": clients,
    "python-client-routes": client_routes,
    "python-client-types": client_types,
    "python-river": river,
    "python-evaluation": evaluation,
    "python-settings": settings,
}
