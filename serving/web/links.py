"""Links of the OpenAPI document: answers of one operation that are parameters or the body of another one.

This file decides which links there are. Expressions in them are those of OpenAPI 3.1 (section 4.8.20.4): a value of the
request or of the answer, by a JSON pointer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class Link(NamedTuple):
    """One link.

    Attributes:
        target: id of the operation that takes the values.
        description: one sentence.
        parameters: its parameters, by name.
        body: its body.
    """

    target: str
    description: str
    parameters: Mapping[str, str] = {}
    body: Any = None


_FIRST_ITEM = "$response.body#/items/0/item"
_SIMILAR = Link("similar_items", "Items beside the first one of the list", {"item": _FIRST_ITEM})
_LIST_OF_VISITOR = Link("recommend_to_user", "The list of the visitor of the event", {"user": "$request.body#/user"})
_DOCUMENT = Link("show_item", "The document as it is now", {"item": "$request.path.item"})
_PROFILE = Link("show_user", "The profile as it is now", {"user": "$request.path.user"})

LINKS: Mapping[str, Sequence[Link]] = {
    "recommend_to_user": (
        _SIMILAR,
        Link(
            "post_clicks",
            "A click on the first item, with the id of the answer that it followed from",
            body={"user": "$request.path.user", "item": _FIRST_ITEM, "answer": "$response.body#/answer"},
        ),
    ),
    "recommend_for": (_SIMILAR,),
    "similar_items": (_SIMILAR,),
    "items_bought_together": (_SIMILAR,),
    "popular_items": (_SIMILAR,),
    "trending_items": (_SIMILAR,),
    "new_arrivals": (_SIMILAR,),
    "recently_viewed": (_SIMILAR,),
    "rerank_items": (_SIMILAR,),
    "recommend_to_several": (
        Link(
            "similar_items",
            "Items beside the first one of the first list",
            {"item": "$response.body#/lists/0/list/items/0/item"},
        ),
    ),
    "post_clicks": (_LIST_OF_VISITOR,),
    "post_purchases": (_LIST_OF_VISITOR,),
    "post_feedback": (_LIST_OF_VISITOR,),
    "list_items": (
        Link("show_item", "The document of the first item of the page", {"item": _FIRST_ITEM}),
        Link("list_items", "The next page", {"cursor": "$response.body#/cursor"}),
    ),
    "put_items": (Link("list_items", "The first page of the catalogue"),),
    "put_item": (_DOCUMENT,),
    "patch_item": (_DOCUMENT,),
    "show_item": (Link("similar_items", "Items beside it", {"item": "$response.body#/item"}),),
    "delete_item": (Link("list_items", "The first page of the catalogue"),),
    "list_users": (
        Link("show_user", "The first profile of the page", {"user": "$response.body#/users/0/user"}),
        Link("list_users", "The next page", {"cursor": "$response.body#/cursor"}),
    ),
    "put_user": (_PROFILE,),
    "patch_user": (_PROFILE,),
    "show_user": (Link("recommend_to_user", "The user's list", {"user": "$response.body#/user"}),),
    "delete_user": (Link("list_users", "The first page of profiles"),),
    "list_versions": (
        Link("show_version", "The manifest of the newest version", {"version": "$response.body#/versions/0/id"}),
        Link(
            "compare_versions",
            "What the newest version changed",
            {"a": "$response.body#/versions/1/number", "b": "$response.body#/versions/0/number"},
        ),
        Link("roll_back", "Pin the newest version", {"version": "$response.body#/versions/0/number"}, {}),
    ),
    "show_version": (Link("roll_back", "Pin this version", {"version": "$response.body#/id"}, {}),),
    "roll_back": (Link("follow_newest", "Answer from the newest version again", body={}),),
    "follow_newest": (
        Link("show_version", "The manifest of the version that answers", {"version": "$response.body#/served_id"}),
    ),
}
"""Links from the successful answers of an operation, by its id."""


def add_links(operation: dict[str, Any]) -> None:
    """Put the links of an operation into its successful answer."""
    links = {link.target: _as_object(link) for link in LINKS.get(operation["operationId"], ())}
    if links:
        success = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        success["links"] = links


def _as_object(link: Link) -> dict[str, Any]:
    made: dict[str, Any] = {"operationId": link.target, "description": f"{link.description}."}
    if link.parameters:
        made["parameters"] = dict(link.parameters)
    if link.body is not None:
        made["requestBody"] = link.body
    return made
