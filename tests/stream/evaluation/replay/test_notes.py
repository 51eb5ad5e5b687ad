"""Values of a file as a worker takes them: what is left out, returned, unknown or of another scale is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream.evaluation.protocol import EvaluationProtocol, WrongInput, plan
from stream.evaluation.replay.history import History, attribute, load
from stream.evaluation.replay.notes import ENOUGH_RATINGS, notes_on_values
from stream.ingest.decoding import rating_weight
from stream.models.settings import ModelSettings


def notes_on(history: History, settings: ModelSettings | None = None) -> tuple[str, ...]:
    chosen = settings or ModelSettings()
    return notes_on_values(history.data, history.is_rating, chosen.weights, chosen.scale)


def written(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows) + "\n")
    return path


def test_a_negative_quantity_is_a_return_and_zero_is_left_out(tmp_path: Path) -> None:
    rows = ("5,ada,tea,purchase,2,a", "6,ada,tea,purchase,-1,b", "7,ada,cup,purchase,0,c", "8,bob,cup,click,-1,d")
    path = written(tmp_path / "a.csv", "ts,user,item,event,quantity,group", *rows)
    history = load(path)
    assert [history.data.event.names[code] for code in history.data.event.codes] == ["purchase", "return", "click"]
    left_out, returned = history.notes
    assert left_out.startswith("1 rows are left out, as a worker leaves them out (unlearned:zero_quantity): ")
    assert returned == "1 purchases have a negative quantity; each was taken as a return"
    groups = attribute(path, history, "group")
    assert [groups.names[code] for code in groups.codes] == ["a", "b", "d"], "columns that are read later fit the rows"
    returns = load(path, events=["return"])
    assert returns.rows.tolist() == [1]


def test_consent_and_bots_of_a_file_are_taken_as_a_worker_takes_them(tmp_path: Path) -> None:
    rows = ("5,ada,tea,,", "6,ada,tea,none,", "7,ada,cup,aggregate,0", "8,ada,pot,personal,true", "9,bob,cup,,false")
    path = written(tmp_path / "a.csv", "ts,user,item,consent,bot", *rows)
    history = load(path, kind="click")
    assert history.rows.tolist() == [0, 2, 4]
    assert history.data.aggregate is not None
    assert history.data.aggregate.tolist() == [False, True, False]
    bots, without, counted = history.notes
    assert bots.startswith("1 rows are left out, as a worker leaves them out (unlearned:bot): ")
    assert without.startswith("1 rows are left out, as a worker leaves them out (unlearned:consent): ")
    assert counted == "1 events have the consent aggregate: they count and are not tested"
    by_default = load(path, kind="click", settings=ModelSettings(consent_default="none"))
    assert by_default.rows.tolist() == [2]
    with pytest.raises(WrongInput, match=r"line 2: consent: 'no' is none of personal, aggregate, none; did you mean"):
        load(written(tmp_path / "b.csv", "ts,user,item,consent", "5,ada,tea,no"), kind="click")


def test_larger_quantities_weigh_more_in_a_file_as_in_a_stream_if_a_setting_says_so(tmp_path: Path) -> None:
    rows = ("5,ada,tea,purchase,4", "6,ada,cup,click,9", "7,ada,tea,purchase,", "8,ada,tea,purchase,-9")
    path = written(tmp_path / "a.csv", "ts,user,item,event,quantity", *rows)
    history = load(path)
    assert history.quantity_weights(0.5).tolist() == [2.0, 1.0, 1.0, 3.0]
    assert history.quantity_weights(0.0).tolist() == [1.0] * 4
    kept = load(path, events=["purchase", "click"])
    assert kept.quantity_weights(0.5).tolist() == [2.0, 1.0, 1.0]


def test_null_ids_are_left_out_by_the_list_of_the_settings(tmp_path: Path) -> None:
    words = ["\\N", "NULL", "NaN", "None", "ada", ""]
    rows = [f"{n}\t{word}\ts{n}\ti\tclick" for n, word in enumerate(words, 5)]
    path = written(tmp_path / "a.tsv", "ts\tuser\tsession\titem\tevent", *rows)
    history = load(path)
    assert history.data.user is not None
    assert history.data.user.names == ["ada"]
    assert history.rows.tolist() == [4, 5]
    assert history.notes[0].startswith("4 rows are left out, as a worker leaves them out (unlearned:null_id)")
    assert load(path, settings=ModelSettings(null_ids=["ada"])).rows.tolist() == [0, 1, 2, 3, 5]
    with pytest.raises(WrongInput, match=r"no event in it, only rows that are left out \(null_id\)"):
        load(written(tmp_path / "b.csv", "ts,user,item,event", "5,NULL,tea,click"))


def test_unknown_kinds_are_said_with_the_nearest_known_one(tmp_path: Path) -> None:
    rows = [f"{n},ada,i{n},{kind}" for n, kind in enumerate(["view", "addtocart", "transaction", "r5", "wish"], 5)]
    history = load(written(tmp_path / "a.csv", "ts,user,item,event", *rows))
    cart, purchase = notes_on(history, ModelSettings(weights={"wish": 2.0}))
    assert cart.startswith("1 events: kind 'addtocart' is unknown and weighs 1; did you mean 'cart'?")
    assert purchase.startswith("1 events: kind 'transaction' is unknown and weighs 1; did you mean 'purchase'?")
    split = [f"{n},ada,i{n},{kind}" for n, kind in enumerate(["train", "ctx", "test"], 5)]
    assert notes_on(load(written(tmp_path / "b.csv", "ts,user,item,event", *split))) == ()


def test_ratings_weigh_by_the_scale_of_the_settings_and_none_may_be_outside(tmp_path: Path) -> None:
    rows = [f"{n},ada,i{n},rating,{value}" for n, value in enumerate([1, 6, 10], 5)] + ["9,ada,tea,view,99"]
    history = load(written(tmp_path / "a.csv", "ts,user,item,event,value", *rows))
    scale = ModelSettings(rating_scale={"low": 1, "high": 10, "neutral": 6}).scale
    assert np.array_equal(history.value_weights(scale), [-2, 0, 2, np.nan], equal_nan=True)
    with pytest.raises(WrongInput, match=r"a\.csv: row 2 of the events: value: 6 is outside the scale of ratings"):
        history.value_weights(ModelSettings().scale)


def test_stars_of_a_file_of_ratings_alone_weigh_as_a_worker_weighs_them(tmp_path: Path) -> None:
    rows = [f"{n},ada,i{n},rating,{stars}" for n, stars in enumerate([1, 5, 3], 5)]
    history = load(written(tmp_path / "a.csv", "ts,user,item,event,value", *rows))
    scale = ModelSettings().scale
    steps = plan(
        visitor=history.visitor("user").codes,
        item=history.data.item.codes,
        kind=history.data.event.codes,
        kinds=history.data.event.names,
        time=history.data.seconds,
        protocol=EvaluationProtocol(),
        value_weights=history.value_weights(scale),
    )
    assert steps.weights.tolist() == pytest.approx([rating_weight(stars, scale) for stars in (1, 5, 3)])


def test_ids_that_a_program_wrote_as_fractions_are_said(tmp_path: Path) -> None:
    rows = ["5,7.0,42.0,click", "6,7,42,click", "7,1e5,42,click", "8,100000,v1.0,click"]
    notes = load(written(tmp_path / "a.csv", "ts,user,item,event", *rows)).notes
    assert [note.partition(";")[0] for note in notes] == [
        "item: 1 id is a whole number written as '42.0': another id than '42'",
        "user: 2 ids are whole numbers written as '7.0', '1e5': other ids than '7', '100000'",
    ]


def test_ratings_that_never_use_their_scale_are_said(tmp_path: Path) -> None:
    rows = [f"{n},ada,i{n},rating,{n % 2}" for n in range(5, 5 + ENOUGH_RATINGS)]
    history = load(written(tmp_path / "a.csv", "ts,user,item,event,value", *rows))
    (note,) = notes_on(history)
    assert note.startswith(f"all {ENOUGH_RATINGS} ratings are from 0 to 1, and the scale is 0 to 5")
    assert notes_on(history, ModelSettings(rating_scale={"low": 0, "high": 1})) == ()


def test_times_of_zero_are_said_beside_real_ones(tmp_path: Path) -> None:
    head = "ts,user,item,event"
    real = load(written(tmp_path / "a.csv", head, "0,ada,tea,click", "1700000000,ada,cup,click"))
    assert real.notes == ("1 rows have the time 0, which is 1970; their counts are long forgotten",)
    assert load(written(tmp_path / "b.csv", head, "0,ada,tea,click", "1,ada,cup,click")).notes == ()
