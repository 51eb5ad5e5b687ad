"""The main parameters of the lists are named in plain words, with their weights in the served version's ranker."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest

from serving.operations.transparency import WORDS, Transparency, page_of, transparency_of
from stream.models.feature_names import CANDIDATE_FEATURE_NAMES, CROSS_BUCKETS, CROSSES
from stream.models.ranking.influence import IMPERSONAL, PREFIXES, influences, parameter_of
from stream.models.ranking.ranker import LEAK, OUTPUT
from stream.models.schema import LINEAR_ROWS
from stream.models.source_names import SOURCES
from tests.serving.answers.shop import InMemory, application, shop

ORDER = ("popularity", "own_history", "followers", "newness", "similar_visits", "companions", "agreement")
"""The order that `planted` gives the parameters."""


def planted(loader: InMemory, table: str = "linear") -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Views of the served version in which one feature of each parameter weighs 7, -6, 5 and so on, and others 0."""
    views = {name: (data.copy(), index) for name, (data, index) in loader.served.model.views.items()}
    for name in ("linear", "network", "challenger"):
        views[name][0][:] = 0
    data, index = views[table]
    for place, parameter in enumerate(ORDER):
        feature = next(each for each in CANDIDATE_FEATURE_NAMES if parameter_of(each) == parameter)
        data[index[0], CANDIDATE_FEATURE_NAMES.index(feature)] = (len(ORDER) - place) * (-1) ** place
    return views


@pytest.mark.parametrize(("ranker", "table"), [("blend", "linear"), ("river", "challenger")])
def test_a_planted_ranker_gives_the_known_order_of_weights(ranker: str, table: str) -> None:
    found = influences(planted(shop(), table), ranker)
    assert tuple(each.parameter for each in found) == ORDER
    assert [each.share for each in found] == pytest.approx([weight / 28 for weight in range(7, 0, -1)])
    assert [each.raises for each in found] == [place % 2 == 0 for place in range(7)]


def test_crosses_and_the_network_count_as_they_do_in_the_mean_situation() -> None:
    views = planted(shop())
    newness, popularity = CANDIDATE_FEATURE_NAMES.index("item.age"), CANDIDATE_FEATURE_NAMES.index("item.count")
    views["linear"][0][:] = views["network"][0][:] = 0
    linear, linear_index = views["linear"]
    for row in range(1, 1 + CROSSES * CROSS_BUCKETS, CROSS_BUCKETS):
        linear[linear_index[row], newness] = CROSS_BUCKETS
    linear[linear_index[LINEAR_ROWS]] = 1e6  # the optimiser's memory weighs nothing
    network, network_index = views["network"]
    network[network_index[popularity], 3], network[network_index[OUTPUT], 3] = 2.0, 4.0
    by_parameter = {each.parameter: each.share for each in influences(views, "blend")}
    of_network = (1 + LEAK) / 2 * 8.0
    assert by_parameter["newness"] == pytest.approx(CROSSES / (CROSSES + of_network))
    assert by_parameter["popularity"] == pytest.approx(of_network / (CROSSES + of_network))


def test_every_feature_belongs_to_a_parameter_that_has_words() -> None:
    assert {parameter_of(feature) for feature in CANDIDATE_FEATURE_NAMES} >= set(PREFIXES) == set(WORDS) >= IMPERSONAL
    popular = tuple(source for source in SOURCES if source.startswith("popular_"))
    disabled = influences(planted(shop()), "blend", popular)
    assert disabled[-1].parameter == "popularity", "features of a source that is off weigh nothing"


async def asked(loader: InMemory, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=application(loader))
    async with httpx.AsyncClient(transport=transport, base_url="http://corrente") as client:
        return await client.get(path)


async def test_the_answer_names_the_version_and_weights_that_add_up_to_one() -> None:
    loader = shop()
    answer = await asked(loader, "/v1/transparency")
    found = msgspec.json.decode(answer.content, type=Transparency)
    assert (answer.status_code, found.version_id) == (200, loader.served.version.id)
    assert sum(each.weight for each in found.parameters) == pytest.approx(1.0, abs=0.001)
    assert [each.weight for each in found.parameters] == sorted(
        (each.weight for each in found.parameters), reverse=True
    )
    assert {each.name for each in found.parameters if not each.needs_history} == IMPERSONAL
    assert "profiling=off" in found.without_profiling


async def test_before_the_first_version_there_are_no_parameters() -> None:
    answer = await asked(InMemory(), "/v1/transparency")
    assert (answer.status_code, answer.json()["version"], answer.json()["parameters"]) == (200, None, [])


async def test_an_unknown_parameter_is_refused() -> None:
    answer = await asked(shop(), "/v1/transparency?lang=de")
    assert (answer.status_code, answer.json()["field"]) == (422, "lang")


class Cells(HTMLParser):
    """The text of every cell of a page's table, and the number of elements that load anything."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.loading = 0
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "td"
        self.loading += tag in {"script", "link", "img", "iframe"}

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.cells.append(data)
            self._inside = False


async def test_the_page_shows_every_parameter_in_words_and_loads_nothing() -> None:
    loader = shop()
    answer = await asked(loader, "/v1/transparency/page")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page, found = Cells(), transparency_of("shop", loader.served)  # type: ignore[arg-type]  # a version in memory
    page.feed(answer.text)
    assert page.cells[::4] == [each.description for each in found.parameters]
    assert page.cells[1::4] == [f"{each.weight:.0%}" for each in found.parameters]
    assert page.loading == 0


def test_names_are_no_markup() -> None:
    found: dict[str, Any] = {"version": 1, "version_id": "1", "without_profiling": "", "other_rules": ""}
    assert "<b>" not in page_of(Transparency(model="<b>", parameters=[], **found))
