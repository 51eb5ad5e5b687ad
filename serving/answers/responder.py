"""Steps from a checked request to its response, for both HTTP ways.

This file decides that every list is decided by `serving.answers.decision`, gets an id of its own and is counted,
whether it is answered inside the HTTP protocol or by an `Endpoint`. It is kept in the application's state as
`responder`.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from serving.answers.answer_ids import AnswerIds
from serving.answers.decision import Ask, Context, decide
from serving.answers.explain import explain
from serving.answers.response import Recommendations, to_response, with_reasons
from serving.loading.served import LoadedVersion, VersionSource
from serving.metrics import Metrics
from stream.catalogue.snapshot import Catalogue
from stream.catalogue.visitor_rules import NO_RULES, VisitorRules


class Responder:
    """Answers asks from the versions of a loader.

    Args:
        loader: holds the versions in memory.
        metrics: of the server; each answer is counted by its fallback.
        catalogue: of the items; an empty one if none is given.
        rules_of: the rules of a visitor, by the id of the user.
    """

    def __init__(
        self,
        loader: VersionSource,
        metrics: Metrics,
        catalogue: Catalogue | None = None,
        rules_of: Callable[[str], VisitorRules] = lambda _: NO_RULES,
    ) -> None:
        self._loader = loader
        self._model_name = loader.model_name
        self._metrics = metrics
        self._catalogue = catalogue if catalogue is not None else Catalogue()
        self._rules_of = rules_of
        self._count_violations = metrics.filter_violations.inc
        self._new_id = AnswerIds()

    async def respond_from(self, version: str | None, ask: Ask) -> Recommendations:
        """The response from the served version, or from the one of this number, alias or id; loaded if need be.

        Raises:
            VersionError: the version is unknown or can't be read; `serving.web.problems` maps it to 404 or 409.
            RedisError: the version is not in memory and Redis is down; mapped to 503.
        """
        served = await self._loader.answering(version)
        return self.explain(ask, served) if ask.explain else self.respond(ask, served)

    async def version_named(self, version: str | None) -> LoadedVersion | None:
        """The served version, or the one of this number, alias or id; raises as `respond_from`."""
        return await self._loader.answering(version)

    def count_batch(self, answered: int, refused: int) -> None:
        """Count the lists of a batch, and the elements that got none."""
        self._metrics.count_batch(answered, refused)

    def respond(self, ask: Ask, served: LoadedVersion | None) -> Recommendations:
        """The response from a version in memory; None: no version was ever published."""
        ask = self._as_visitor_wants(ask)
        if served is None:
            version = None
            view = self._catalogue.view(ask.wanted, None)
            context = Context(None, None, view, self._count_violations)
        else:
            version = served.version
            view = self._catalogue.view(ask.wanted, served.for_catalogue)
            context = Context(version, served.model, view, self._count_violations)
        ranking = decide(ask, context)
        self._metrics.count_answer(ranking.fallback or "personal")
        return to_response(self._new_id(), self._model_name, version, ranking, view.revision)

    def explain(self, ask: Ask, served: LoadedVersion | None) -> Recommendations:
        """The response of `respond`, with the reasons of each item."""
        ask = self._as_visitor_wants(ask)
        view = self._catalogue.view(ask.wanted, None if served is None else served.for_catalogue)
        version, model = (None, None) if served is None else (served.version, served.model)
        ranking, explanation = explain(ask, Context(version, model, view, self._count_violations))
        fallback = ranking.fallback or "personal"
        self._metrics.count_answer(fallback)
        response = to_response(self._new_id(), self._model_name, version, ranking, view.revision)
        return with_reasons(response, explanation)

    def _as_visitor_wants(self, ask: Ask) -> Ask:
        """The ask under the rules that the visitor has set."""
        rules = NO_RULES if ask.user is None else self._rules_of(ask.user)
        if rules is NO_RULES:
            return ask
        if not rules.profiled:
            ask = ask.without_profiling()
        return msgspec.structs.replace(ask, wanted=rules.applied_to(ask.wanted))
