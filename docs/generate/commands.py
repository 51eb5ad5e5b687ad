"""Commands of `corrente` with their arguments and options, from the same objects that parse them.

This file decides which commands are listed and how their options are written.
"""

from __future__ import annotations

import enum
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from typer.main import get_command

from docs.generate.markdown import code, table
from stream.cli import app

KINDS: Mapping[type, str] = {str: "text", int: "integer", float: "number", Path: "path"}


def found_commands() -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    root: Any = get_command(app)
    context = root.make_context("corrente", ["--version"], resilient_parsing=True)
    for name in root.list_commands(context):
        _, command, _ = root.resolve_command(context, [name])
        yield from _below(f"corrente {name}", command)


def _below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    inside = getattr(command, "commands", None)
    if not inside:
        yield name, command
        return
    for each in inside.values():
        yield from _below(f"{name} {each.name}", each)


def section() -> str:
    return "\n\n".join(_one(name, command) for name, command in found_commands())


def _one(name: str, command: Any) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option" and "--help" not in each.opts]
    parts = [f"## {code(name)}", _paragraphs(command.help or "")]
    if arguments:
        usage = [f"{each.metavar or each.name.upper()}{'…' if each.nargs == -1 else ''}" for each in arguments]
        rows = [[code(shown), _help(each)] for shown, each in zip(usage, arguments, strict=True)]
        parts.append(table(["argument", "what it is"], rows))
    if options:
        rows = [[_spelled(each), code(_default(each)), _help(each)] for each in options]
        parts.append(table(["option", "default", "what it is"], rows))
    return "\n\n".join(parts)


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(block.split()) for block in text.replace("\f", "").split("\n\n"))


def _spelled(option: Any) -> str:
    names = " / ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} {_kind(option)}{', repeated' if option.multiple else ''}"


def _kind(option: Any) -> str:
    """The kind of value that an option takes, with its limits."""
    kind = option.type_descriptor.annotation
    inner = typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind
    if typing.get_origin(inner) is typing.Literal:
        return " or ".join(code(str(each)) for each in typing.get_args(inner))
    if isinstance(inner, type) and issubclass(inner, enum.Enum):
        return " or ".join(code(str(each.value)) for each in inner)
    if option.metavar:
        return code(option.metavar)
    if typing.get_origin(inner) is tuple:
        return " ".join(KINDS[each] for each in typing.get_args(inner))
    bounds = [
        f"{word} {bound:,}" for word, bound in (("at least", option.min), ("at most", option.max)) if bound is not None
    ]
    return ", ".join([KINDS.get(inner, inner.__name__), *bounds])


def _default(option: Any) -> str:
    default = option.default
    if option.required or default is None or default is False or callable(default):
        return ""
    if option.is_flag and default is True:
        return option.opts[0]
    if isinstance(default, list | tuple):
        return " ".join(str(each) for each in default)
    return str(getattr(default, "value", default))


def _help(parameter: Any) -> str:
    text = " ".join((parameter.help or "").split())
    return f"{text} Required.".strip() if parameter.required and parameter.param_type_name == "option" else text


def overview() -> str:
    """Every command with the first paragraph of its help, because a cell of a table is one line."""
    rows = [
        [f"[{code(name)}](#{name.replace(' ', '-')})", _paragraphs(each.help or "").partition("\n\n")[0]]
        for name, each in found_commands()
    ]
    return table(["command", "does"], rows)


SECTIONS = {"commands-overview": overview, "commands": section}
