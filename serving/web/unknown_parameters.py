"""Unknown query parameters are refused.

This file decides that a query parameter that a route doesn't declare gets 422 and is named, on every route: a misspelt
`limt=5` that is silently ignored would show only in the answers.
"""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches
from urllib.parse import parse_qsl

from fastapi import Request

from serving.web.problems import Problem


async def refuse_unknown_parameters(request: Request) -> None:
    """Dependency of every FastAPI router: the query parameters that a route declares are all there are.

    Raises:
        Problem: 422, naming the first unknown parameter.
    """
    query = request.scope["query_string"]
    if query:
        refuse_unknown(query, {parameter.alias for parameter in request.scope["route"].dependant.query_params})


def refuse_unknown(query: bytes, declared: Collection[str]) -> None:
    """Refuse a query string with a parameter that isn't declared.

    >>> refuse_unknown(b"limit=5", {"limit"})
    >>> refuse_unknown(b"limt=5", {"limit"})
    Traceback (most recent call last):
    serving.web.problems.Problem: limt: there is no such parameter; did you mean limit? There are limit

    Raises:
        Problem: 422, naming the first unknown parameter.
    """
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in declared:
            known = known_names(name, sorted(declared)) if declared else "this route takes none"
            raise Problem(422, f"{name}: there is no such parameter; {known}", field=name)


def known_names(name: str, names: Collection[str]) -> str:
    """The known names, and before them the nearest one to a name that isn't among them.

    >>> known_names("exclude_sen", ["n", "exclude_seen"]), known_names("page", ["n"])
    ('did you mean exclude_seen? There are n, exclude_seen', 'there are n')
    """
    close = get_close_matches(name, names, n=1)
    listed = ", ".join(names)
    return f"did you mean {close[0]}? There are {listed}" if close else f"there are {listed}"
