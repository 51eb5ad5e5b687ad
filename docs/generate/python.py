"""Signatures and docstrings of the public Python interface.

This file decides which names are public: those of `stream.evaluation`, the recommender for River, and the settings of
a model.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

import stream.evaluation
from docs.generate.markdown import code, fence, prose
from stream.models.estimator import BlendRanker
from stream.models.settings import ModelSettings
from stream.settings import load_settings

_ADDRESS = re.compile(r"<factory>|<(?:function|object|.* object) .*?>")


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
    lines = [f"    {_parameter(each)}," for each in kept]
    result = (
        "" if signature.return_annotation is inspect.Signature.empty else f" -> {_name(signature.return_annotation)}"
    )
    if inspect.isclass(thing):
        result = ""
    return "\n".join([f"{thing.__name__}(", *lines, f"){result}"]) if kept else f"{thing.__name__}(){result}"


def _parameter(parameter: inspect.Parameter) -> str:
    """A parameter with its annotation and default, without quotes of annotations and addresses in memory."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    text = f"{stars}{parameter.name}"
    if parameter.annotation is not inspect.Parameter.empty:
        text += f": {_name(parameter.annotation)}"
    if parameter.default is not inspect.Parameter.empty:
        text += f" = {_ADDRESS.sub('...', repr(parameter.default))}"
    return text


def _name(annotation: Any) -> str:
    """An annotation as it was written: under `from __future__ import annotations` all of them are text."""
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _methods(thing: Any) -> Iterator[tuple[str, str]]:
    """Public methods and properties that have a docstring of their own."""
    if dataclasses.is_dataclass(thing) or thing.__module__.startswith(("stream.", "serving.")):
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


SECTIONS = {"python-river": river, "python-evaluation": evaluation, "python-settings": settings}
