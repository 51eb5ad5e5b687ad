"""The console command `corrente`: a group of commands that are found by name and imported one at a time.

This file decides how a command is found, listed and run. The commands themselves are entry points of the group
`corrente.commands` (`pyproject.toml`): a package adds a command there, and this file imports none of them. The list of
commands is made from their sources as text, because importing all of them would make every call wait for the imports of
each. A command whose module can't be imported says so when it is called, and leaves the others usable.
"""

from __future__ import annotations

import ast
import os
import sys
import warnings
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from stream.runtime.kernel_folder import provide_kernel_folder

GROUP = "corrente.commands"


class CommandsByName(TyperGroup):
    """A group whose commands are entry points."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  the signature is the library's
        return sorted(_found())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  the signature is the library's
        """The command in the form for lists; `resolve_command` gives the one that runs."""
        found = _found().get(cmd_name)
        return TyperCommand(cmd_name, help=_described(found)) if found else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, _load(_found()[name]) if name and listed else listed, rest


def _found() -> dict[str, EntryPoint]:
    return {found.name: found for found in entry_points(group=GROUP)}


def _described(found: EntryPoint) -> str:
    """The docstring of a command's function, or the `help` of its app."""
    package, _, inside = found.module.partition(".")
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return ""
    source = Path(spec.origin).parent.joinpath(*inside.split(".")).with_suffix(".py")
    if not source.is_file():
        return f"Not available here: there is no {found.module}."
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name == found.attr:
            return ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == found.attr:
            keywords = node.value.keywords if isinstance(node.value, ast.Call) else []
            return next((ast.literal_eval(each.value) for each in keywords if each.arg == "help"), "")
    return ""


def _load(found: EntryPoint) -> Any:
    """The command behind an entry point: a typer app as it is, a function as a command of its name."""
    provide_kernel_folder(os.environ)  # before a command imports kernels
    try:
        target = found.load()
    except ImportError as error:
        target = _unavailable(found.name, str(error))
    app = target
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False)
        app.command(found.name)(target)
    command = typer.main.get_command(app)
    command.name = found.name
    return command


def _unavailable(name: str, reason: str) -> Any:
    def unavailable() -> None:
        print(f"corrente {name} can't run here: {reason}", file=sys.stderr)
        raise typer.Exit(2)

    unavailable.__doc__ = f"Not available here: {reason}."
    return unavailable


app = typer.Typer(
    cls=CommandsByName,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Corrente: a recommender that learns from every click, and keeps every model that ever served.",
)


@app.callback(invoke_without_command=True)
def _corrente(
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        print(version_of("corrente"))
        raise typer.Exit


def _formatted(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """A warning as it is printed: ours without the place in the source, which is of no use to a user of a command."""
    if category.__module__.startswith("stream."):
        return f"corrente: {message}\n"
    return _python_s_own(message, category, filename, lineno, line)


_python_s_own = warnings.formatwarning


def main() -> None:
    """Run the console command.

    A wrong setting ends the program with a message that says what would be right, and without a traceback. A warning
    of ours is one line.
    """
    warnings.formatwarning = _formatted
    try:
        app(prog_name="corrente")
    except ValueError as error:
        from stream.settings import WrongSetting  # slow to import, and needed only here

        if not isinstance(error, WrongSetting):
            raise
        print(error, file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
