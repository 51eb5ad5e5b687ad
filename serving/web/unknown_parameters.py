"""Unknown query parameters are refused.

This file decides that a query parameter that a route doesn't declare gets 422 and is named, on every route: a misspelt
`limt=5` that is silently ignored would show only in the answers.
"""

from __future__ import annotations

from collections.abc import Collection
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
    serving.web.problems.Problem: limt: there is no such parameter; there are limit

    Raises:
        Problem: 422, naming the first unknown parameter.
    """
    for name, _ in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        if name not in declared:
            known = f"there are {', '.join(sorted(declared))}" if declared else "this route takes none"
            raise Problem(422, f"{name}: there is no such parameter; {known}", field=name)
