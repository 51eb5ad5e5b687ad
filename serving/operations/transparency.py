"""Transparency over HTTP: the main parameters that decide the lists, in plain words, as JSON and as a page.

The Digital Services Act (Regulation (EU) 2022/2065) has platforms set out the main parameters of their recommender
systems, in plain and intelligible language, with their relative importance (Article 27), and has very large ones offer
an option that is not based on profiling (Article 38). Both are made from the version that answers, so they hold for the
lists of this moment.

This file decides the words, and how the page looks. The weights are computed by `stream.models.ranking.influence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import msgspec
from fastapi import APIRouter, Depends
from starlette.responses import Response

from serving.loading.served import LoadedVersion
from serving.web.unknown_parameters import refuse_unknown_parameters
from serving.wiring import ServedVersions
from stream.models.ranking.influence import IMPERSONAL, Influence, influences

WORDS: Mapping[str, str] = {
    "followers": "Items that other visitors went to right after the items that you had last.",
    "companions": "Items that the same visitors had as the items that you had.",
    "similar_visits": "Items of other visits that resemble yours.",
    "popularity": "How often visitors chose the item, over the last minutes up to the last weeks.",
    "newness": "How long the item has been known, and when another visitor last chose it.",
    "own_history": "Your own earlier visits to the item.",
    "agreement": "How many of the methods named here have the item among their best.",
}
"""A sentence to a visitor for each parameter."""

WITHOUT_PROFILING = (
    "Add profiling=off to the request for a list. Nothing that is known of the visitor counts then, only what the "
    "request itself names and the parameters without history."
)

OTHER_RULES = (
    "Items that are sold out or hidden are left out, and so are items that the request excludes or its filter doesn't "
    "let through, and items that a visitor has turned down with a dislike or a return."
)


class Parameter(msgspec.Struct):
    """One of the parameters that decide the lists."""

    name: str
    """Short name."""
    description: str
    """The parameter in plain words."""
    weight: float
    """Relative weight among all parameters; they add up to 1."""
    effect: str
    """`raises` or `lowers`: what more of it does to an item, on the whole."""
    needs_history: bool
    """True if it needs a visitor's history, or items that the request names."""


class Transparency(msgspec.Struct):
    """The main parameters that decide the lists of the version that answers."""

    model: str
    """Name of the model."""
    version: int | None
    """Number of the version that answers; null while nothing was learned yet."""
    version_id: str | None
    """Its id."""
    parameters: list[Parameter]
    """The largest weight first; empty while nothing was learned yet."""
    without_profiling: str
    """The way to a list that is not based on profiling."""
    other_rules: str
    """Rules beside the parameters."""


router = APIRouter(prefix="/v1/transparency", tags=["transparency"], dependencies=[Depends(refuse_unknown_parameters)])

_JSON: dict[int | str, dict[str, Any]] = {
    "200": {
        "description": "The main parameters",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Transparency"}}},
    }
}
_PAGE: dict[int | str, dict[str, Any]] = {
    "200": {"description": "The page", "content": {"text/html": {"schema": {"type": "string"}}}}
}


@router.get("", response_class=Response, responses=_JSON)
async def main_parameters(loader: ServedVersions) -> Response:
    """The main parameters that decide the lists, and their relative weight in the version that answers.

    `GET /v1/transparency/page` is the same as a page for visitors.
    """
    return Response(
        msgspec.json.encode(transparency_of(loader.model_name, loader.served)), media_type="application/json"
    )


@router.get("/page", response_class=Response, responses=_PAGE)
async def main_parameters_page(loader: ServedVersions) -> Response:
    """The main parameters as a page for visitors. It loads nothing, so a shop can pass it on as it is."""
    return Response(page_of(transparency_of(loader.model_name, loader.served)), media_type="text/html")


def transparency_of(model_name: str, served: LoadedVersion | None) -> Transparency:
    """The main parameters of a version; without one there are none."""
    if served is None:
        return Transparency(model_name, None, None, [], WITHOUT_PROFILING, OTHER_RULES)
    settings = served.model.settings
    found = influences(served.model.views, settings.ranker, settings.disabled_sources)
    return Transparency(
        model_name,
        served.version.number,
        served.version.id,
        list(map(_parameter, found)),
        WITHOUT_PROFILING,
        OTHER_RULES,
    )


def _parameter(influence: Influence) -> Parameter:
    name = influence.parameter
    return Parameter(
        name=name,
        description=WORDS.get(name, f"The shop's own method, called {name}."),
        weight=round(influence.share, 4),
        effect="raises" if influence.raises else "lowers",
        needs_history=name not in IMPERSONAL,
    )


def page_of(found: Transparency) -> str:
    """A page without scripts, pictures or anything from elsewhere."""
    rows = "\n".join(
        f"<tr><td>{escape(each.description)}</td><td>{each.weight:.0%}</td>"
        f"<td>{'raises' if each.effect == 'raises' else 'lowers'} an item</td>"
        f"<td>{'yes' if each.needs_history else 'no'}</td></tr>"
        for each in found.parameters
    )
    version = f"version {found.version} of the model" if found.version is not None else "no version yet; the model"
    return f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>What decides the lists</title>
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 45rem; margin: 2rem auto; padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100% }}
th, td {{ text-align: left; padding: 0.4rem 0.6rem; border-bottom: 1px solid #ccc }}
</style>
<h1>What decides the lists</h1>
<p>Lists of recommended items are ordered by a score. These are the main parameters of the score, with their relative
weight in {escape(version)} {escape(found.model)}. The weights are learned from what visitors choose, and change.</p>
<table>
<tr><th>Parameter</th><th>Weight</th><th>More of it</th><th>Uses your history</th></tr>
{rows}
</table>
<h2>Lists without profiling</h2>
<p>{escape(found.without_profiling)}</p>
<h2>Other rules</h2>
<p>{escape(found.other_rules)}</p>
</html>
"""
