"""Figures of the ratings and the conversion model, and the origins of answers (the fallback chain)."""

import numpy as np
import pytest

from stream.evaluation.protocol import EvaluationProtocol
from stream.evaluation.replay.history import history_of, load
from stream.evaluation.replay.run import evaluate
from stream.evaluation.report.tables import lines
from stream.ingest.files.dataset import Coded, Dataset
from stream.models.settings import ModelSettings

SETTINGS = ModelSettings(max_items=200, max_visitors=200, max_sessions=300, max_event_ids=64)


def coded(cells):
    names = list(dict.fromkeys(cell for cell in cells if cell is not None))
    return Coded(np.array([-1 if cell is None else names.index(cell) for cell in cells], np.int32), names)


def camps(folder, kind_of, header="ts\tuser\titem\tevent", cells=lambda _: ""):
    """Forty visitors in two camps: each gives five stars to items of its own camp and two to the others."""
    random = np.random.default_rng(1)
    rows = [header]
    for number in range(3000):
        user, item = random.integers(40), random.integers(30)
        stars = 5 if user % 2 == item % 2 else 2
        rows.append(f"{number}\tu{user}\ti{item}\t{kind_of(stars)}{cells(stars)}")
    path = folder / "stars.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.parametrize("by", ["a column of values", "a kind a star"])
def test_ratings_reach_the_ratings_model_and_its_error_is_reported(tmp_path, by):
    if by == "a kind a star":
        path = camps(tmp_path, lambda stars: f"r{stars}")
    else:
        header = "ts\tuser\titem\tevent\tstars"
        path = camps(tmp_path, lambda _: "rating", header, lambda stars: f"\t{stars}")
    history = load(path, columns={} if by == "a kind a star" else {"value": "stars"})
    result = evaluate(history, EvaluationProtocol(warmup=0.2, every=20), SETTINGS)
    figures = result.report()["beside"]["ratings"]
    assert figures["learned"] == 3000
    assert figures["constant_mae"] == pytest.approx(1.5, abs=0.01)
    assert figures["mae"] < 0.9 * figures["constant_mae"]
    assert any(line.startswith("ratings: mean absolute error") for line in lines(result))


def test_ratings_without_a_value_are_noted(tmp_path):
    history = load(camps(tmp_path, lambda _: "rating"))
    assert any("3000 events of kind 'rating' have no value" in note for note in history.notes)


def test_stars_that_are_all_the_same_are_no_ratings(tmp_path):
    history = load(camps(tmp_path, lambda stars: f"r{stars}"), events=["r5"])
    assert "ratings" not in evaluate(history, EvaluationProtocol(every=20), SETTINGS).model_metrics


def test_a_low_rating_takes_weight_back_where_there_are_other_kinds(history_from):
    rows = [(f"u{n}", "loved" if n % 2 else "hated", "click") for n in range(20)]
    history = history_from([*rows, ("u0", "hated", "rating"), ("u1", "loved", "rating")])
    values = np.full(len(history), np.nan, np.float32)
    values[-2:] = (1.0, 5.0)
    weighed = history_of(
        Dataset(history.data.seconds, history.data.item, history.data.event, history.data.user, None, values), "weighed"
    )
    plan = evaluate(weighed, EvaluationProtocol(), SETTINGS).plan
    assert plan.weights[-2:].tolist() == [pytest.approx(-1.2), 2.0]
    assert set(plan.weights[:-2].tolist()) == {1.0}


def test_answers_report_their_origin():
    """A known visitor, a new one, and one who is named only after their session began."""
    rows = [(f"u{n % 5}", f"s{n % 5}", f"i{n % 3}") for n in range(30)]
    rows += [("new", "s-new", "i0"), (None, "anonymous", "i1"), ("named", "anonymous", "i2")]
    users, sessions, items = zip(*rows, strict=True)
    clicks = coded(["click"] * len(rows))
    data = Dataset(np.arange(len(rows), dtype=np.float64), coded(items), clicks, coded(users), coded(sessions))
    protocol = EvaluationProtocol(by="user", no_repeats=True, warmup=0.6)
    result = evaluate(history_of(data, "shop"), protocol, SETTINGS)
    last = result.tests.fallback[-3:].tolist()
    assert last == [2, 2, 1], "trending for new visitors, then the session"
    shares = result.report()["fallbacks"]
    assert shares["session"] == pytest.approx(1 / len(result.tests))
    assert shares["trending"] == pytest.approx(2 / len(result.tests))
    assert sum(shares.values()) == pytest.approx(result.report()["fallback_share"])


def test_an_answer_without_candidates_falls_back_to_popular_items():
    """Disabled sources propose nothing, so the fallback chain goes on to its next link."""
    silent = SETTINGS.model_copy(
        update={"disabled_sources": tuple(f"popular_{name}" for name in ("20m", "2h", "12h", "3d", "30d"))}
    )
    users = [f"u{n}" for n in range(40)]
    data = Dataset(np.arange(40.0), coded([f"i{n % 4}" for n in range(40)]), coded(["click"] * 40), coded(users), None)
    result = evaluate(history_of(data, "newcomers"), EvaluationProtocol(no_repeats=True, warmup=0.5), silent)
    assert result.report()["fallbacks"]["popular"] == 1.0
