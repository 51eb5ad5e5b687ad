"""Lists for several visitors in one call: `POST /v1/recommendations/batch`.

Each element is what `POST /v1/recommendations` takes, and its list is what that route would answer. An element that is
wrong gets a problem in place of a list, and the others get their lists all the same. All lists come from one version.

This file decides how many lists a call may ask for, what it takes from the caller's limits, and how long it keeps the
event loop at a time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from serving.access.guard import key_of
from serving.answers.requests import RecommendationsFor, VersionName, ask_of_body
from serving.answers.responder import Responder
from serving.answers.response import Recommendations
from serving.limits.limits import Limits
from serving.web.endpoint import PERSONAL_HEADERS, Endpoint
from serving.web.parsing import BodyReader
from serving.web.problems import Problem, ProblemDetails

TURN_SECONDS = 0.002
"""Time for which a batch keeps the event loop; then other requests have their turn."""

read_element = BodyReader(RecommendationsFor)


Element = Annotated[msgspec.Raw, Meta(description="A body of `POST /v1/recommendations`.", examples=[{"user": "ada"}])]
"""One request, read by itself, so that a wrong one spoils no other: the document lets anything stand here."""


class Batch(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of `POST /v1/recommendations/batch`."""

    requests: Annotated[list[Element], Meta(min_length=1)]
    """One for each list, as `POST /v1/recommendations` takes them, without `version`; at most
    `CORRENTE_MAX_BATCH_LISTS`."""
    version: VersionName | None = None
    """Version that makes all lists."""


class BatchElement(msgspec.Struct, omit_defaults=True):
    """A list, or the problem with its request."""

    list: Recommendations | None = None
    """The answer that `POST /v1/recommendations` gives."""
    problem: ProblemDetails | None = None
    """Reason why there is no list."""


class BatchAnswer(msgspec.Struct):
    """Lists for several visitors."""

    refused: int
    """Number of requests that got a problem in place of a list."""
    lists: list[BatchElement]
    """One for each request, in the same order."""


class BatchEndpoint(Endpoint):
    """The route of a batch, which takes each of its lists from the limits of the caller."""

    def take(self, state: Any, scope: Mapping[str, Any], request: Batch) -> None:
        """Check the number of lists, and take all but the first, which was taken when the call was let in.

        Raises:
            Problem: 422 if one call may not ask for so many.
            TooMany: they are more than the key or the address may read. Nothing is taken then.
        """
        count, most = len(request.requests), state.settings.max_batch_lists
        if count > most:
            raise Problem(
                422,
                f"requests: {count:,} lists are asked for; one call may ask for {most:,} (CORRENTE_MAX_BATCH_LISTS). "
                "Send several calls.",
                field="requests",
            )
        limits: Limits = state.guard.limits
        address = (scope.get("client") or ("",))[0]
        limits.take_further_lists(key_of(scope), address, count - 1, f"the call asks for {count:,}")


async def recommend_to_several(responder: Responder, request: Batch) -> BatchAnswer:
    """Lists for several visitors: for each element what `POST /v1/recommendations` answers, all from one version.

    An element that is wrong gets a problem in place of a list; the others get their lists.
    """
    served = await responder.version_named(request.version)
    answer = BatchAnswer(0, [])
    turn_ends = time.perf_counter() + TURN_SECONDS
    for element in request.requests:
        try:
            wanted = read_element(element)
            if wanted.version is not None:
                raise Problem(
                    422, "version: one version answers the whole batch; name it beside `requests`", field="version"
                )
            if wanted.explain:
                raise Problem(422, "explain: reasons are given for one list at a time, not in a batch", field="explain")
            answer.lists.append(BatchElement(list=responder.respond(ask_of_body(wanted), served)))
        except Problem as problem:
            answer.lists.append(BatchElement(problem=problem.details))
            answer.refused += 1
        if time.perf_counter() > turn_ends:
            await asyncio.sleep(0)
            turn_ends = time.perf_counter() + TURN_SECONDS
    responder.count_batch(len(answer.lists) - answer.refused, answer.refused)
    return answer


BATCH = BatchEndpoint(
    "POST",
    "/v1/recommendations/batch",
    recommend_to_several,
    request_type=Batch,
    response_type=BatchAnswer,
    headers=PERSONAL_HEADERS,
)
