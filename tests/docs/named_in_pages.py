"""Commands, settings, metrics and messages that a page of the documentation names, beside those that there are.

This file decides what counts as named: whatever stands in a code span or in a block of `sh`.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from typer.main import get_command

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
PROGRAM = ("stream", "serving", "simulators")
"""Packages whose messages count."""

LEAST_LITERAL = 10
"""Characters of a quoted message that have to be in the code one after the other: fewer would be found anywhere."""


def blocks(text: str, language: str) -> list[str]:
    """Blocks of a language, in order."""
    return [found["text"] for found in BLOCK.finditer(text) if found["language"] == language]


def commands(text: str) -> list[str]:
    """Every `corrente …` in a code span, or at the beginning of a line of a block of `sh`."""
    spans = re.findall(r"`(corrente [^`]+)`", BLOCK.sub("", text))
    lines = [line.strip() for block in blocks(text, "sh") for line in block.splitlines()]
    typed = [re.split(r" [#|>&]", line)[0] for line in lines if line.startswith("corrente ")]
    return sorted({re.sub(r"\s+", " ", each).strip() for each in spans + typed})


def wrong_command(command: str) -> str | None:
    """The word of a command that the program does not have; None if it has all of them."""
    from stream.cli import app

    words = shlex.split(command)[1:]
    found = get_command(app)
    context = found.make_context("corrente", words, resilient_parsing=True)
    while hasattr(found, "resolve_command") and words:
        if words[0] not in found.list_commands(context):
            return words[0]
        _, found, words = found.resolve_command(context, words)
        context = found.make_context(command, list(words), resilient_parsing=True) if words else context
    options = {option for parameter in found.params for option in parameter.opts} | {"--help"}
    return next((word for word in words if word.startswith("--") and word not in options), None)


def unknown_settings(text: str) -> set[str]:
    """Variables that start with `CORRENTE_` and are no setting. `CORRENTE_KEEP_…` stands for all that start so."""
    from stream.configuration.sources import FROM_FILE
    from stream.settings import RENAMED, setting_names

    known = {*setting_names(), *RENAMED, *(name + FROM_FILE for name in setting_names())}
    named = set(re.findall(r"CORRENTE_[A-Z_]+…?", text))
    groups = {name for name in named if name.endswith("…")}
    return (named - groups - known) | {
        group for group in groups if not any(name.startswith(group[:-1]) for name in known)
    }


def unknown_metrics(text: str) -> set[str]:
    """Names that start as metrics do and are none."""
    from serving.metrics import Metrics
    from stream.runner.metrics import WorkerMetrics

    registries = (WorkerMetrics().registry, Metrics().registry)
    known = {name for registry in registries for names in registry._collector_to_names.values() for name in names}
    return set(re.findall(r"corrente_[a-z_]+", text)) - known


def in_code(quote: str) -> bool:
    """Return True if a message of the program can read like this; `…` stands for anything."""
    pieces = [piece.strip() for piece in quote.split("…")]
    assert max(map(len, pieces)) >= LEAST_LITERAL, f"{quote!r} is too short to be found by"
    pattern = re.compile(".*?".join(map(re.escape, pieces)))
    return any(pattern.search(message) for message in messages())


@cache
def messages() -> list[str]:
    """Every text in the code of the program but docstrings, with `\\0` in place of values."""
    found: set[str] = set()
    for package in PROGRAM:
        for path in (ROOT / package).rglob("*.py"):
            found.update(_texts(ast.parse(path.read_text())))
    return sorted(found)


def _texts(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
            yield "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.replace("%s", "\0")
        yield from _texts(node)
