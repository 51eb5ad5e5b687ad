"""The commands as people and scripts call them, with the default model on small made-up files."""

import gzip
import json

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from stream.evaluation import cli
from stream.models.settings import DEFAULT_WEIGHTS

app = typer.Typer()
for command in (cli.evaluate, cli.tune, cli.quality):
    app.command(command.__name__)(command)


def corrente(*words, code=0):
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A file of forty visitors who go round a circle of twelve items; half of them are from the north."""
    path = tmp_path_factory.mktemp("shop") / "shop.tsv.gz"
    random = np.random.default_rng(0)
    rows = ["ts\tuser\tsession\titem\tevent\tregion"]
    place = random.integers(0, 12, 40)
    for step in range(1200):
        visitor = int(random.integers(40))
        place[visitor] = (place[visitor] + 1) % 12 if random.random() < 0.8 else random.integers(12)
        region = "north" if visitor % 2 else "south"
        kind = "purchase" if random.random() < 0.1 else "click"
        rows.append(f"{step * 7}\tu{visitor}\ts{visitor}-{step // 300}\ti{place[visitor]}\t{kind}\t{region}")
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")
    return path


@pytest.fixture(scope="module")
def report(shop):
    return json.loads(corrente("evaluate", shop, "--by", "user", "--k", "3,10", "--json").stdout.splitlines()[-1])


def test_json_has_the_contract_and_the_blend_has_learned_the_circle(report):
    assert report["n"] == 960  # a fifth is warm-up, by the end of which all visitors have been seen
    assert set(report["blend"]) == {"hr", "mrr", "ndcg", "hr_se"}
    assert set(report["blend"]["hr"]) == {"3", "10"}
    assert {"transitions", "cosine", "vsknn", "popular_30d", "embedding"} <= set(report["sources"])
    assert report["blend"]["hr"]["3"] > 0.7 > report["sources"]["popular_30d"]["hr"]["3"]
    assert report["events_per_second"] > 0
    assert report["test_microseconds"] > 0
    assert report["settings"]["repeats"] == "all"


def test_the_challenger_learns_and_so_does_the_conversion_model(report):
    assert report["challengers"]["challenger"]["hr"]["3"] > 0.5
    assert report["beside"]["conversion"]["learned"] > 100


def test_the_ranking_that_orders_the_list_is_reported_as_the_blend(shop, report, tmp_path):
    path = tmp_path / "river.env"
    path.write_text("CORRENTE_MODEL__RANKER=river\n")
    words = ("evaluate", shop, "--by", "user", "--k", "3,10", "--settings", path, "--json")
    river = json.loads(corrente(*words).stdout.splitlines()[-1])
    assert river["blend"] == report["challengers"]["challenger"]
    assert river["challengers"]["challenger"] == report["blend"]


def test_a_disabled_source_ranks_nothing(shop, report, tmp_path):
    path = tmp_path / "silent.env"
    path.write_text('CORRENTE_MODEL__DISABLED_SOURCES=["transition", "transitions"]\n')
    words = ("evaluate", shop, "--by", "user", "--k", "3,10", "--settings", path, "--json")
    silent = json.loads(corrente(*words).stdout.splitlines()[-1])
    assert silent["sources"]["transitions"]["hr"]["3"] < report["sources"]["transitions"]["hr"]["3"] / 2
    assert silent["sources"]["cosine"]["hr"]["3"] > 0


def test_the_cost_of_shards_is_reported(shop):
    text = corrente("evaluate", shop, "--by", "user", "--shards", "3", "--every", "4").stdout
    assert "3 shards cost" in text


def test_same_seed_same_output(shop, report):
    again = json.loads(corrente("evaluate", shop, "--by", "user", "--k", "3,10", "--json").stdout.splitlines()[-1])
    for timing in ("events_per_second", "test_microseconds", "seconds"):
        again.pop(timing)
    assert again == {key: value for key, value in report.items() if key in again}


def test_the_table_names_every_source_and_the_significance_of_the_blend(shop):
    text = corrente("evaluate", shop, "--by", "user", "--events", "click", "--every", "4").stdout
    for word in ("blend", "transitions", "popular_2h", "HR@10", "NDCG@20", "noise", "coverage", "fallback"):
        assert word in text


def test_without_repeats_the_manifest_says_so(shop):
    text = corrente("evaluate", shop, "--by", "session", "--no-repeats", "--warmup", "0.5", "--json").stdout
    report = json.loads(text.splitlines()[-1])
    assert report["settings"]["repeats"] == "first"
    assert report["protocol"]["no_repeats"] is True


def test_slices_groups_and_curves(shop, tmp_path):
    plot = tmp_path / "curves.html"
    result = corrente(
        "evaluate", shop, "--every", "3", "--slices", "--group", "region", "--plot", plot, "--json"
    )  # fmt: skip
    report = json.loads(result.stdout.splitlines()[-1])
    assert {row["label"] for row in report["groups"]["slices"]} == {"north", "south"}
    assert sum(row["tests"] for row in report["slices"]["item's age"]) == report["n"]
    assert "<svg" in plot.read_text(encoding="utf-8")
    text = corrente("evaluate", shop, "--every", "9", "--slices", "--group", "region").stdout
    assert "position in the session" in text
    assert "north" in text


def test_two_results_are_compared(shop, tmp_path):
    paths = []
    for seed in (0, 1):
        paths.append(tmp_path / f"{seed}.json")
        words = ("evaluate", shop, "--every", "2", "--seed", seed, "--json")
        paths[-1].write_text(corrente(*words).stdout, encoding="utf-8")
    text = corrente("evaluate", "--compare", *paths).stdout
    assert "protocol.seed: 0 → 1" in text
    assert "paired" in text
    comparison = json.loads(corrente("evaluate", "--compare", *paths, "--json").stdout)
    assert comparison["paired"] is True
    assert comparison["changes"][0]["name"] == "blend"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.tsv"], "there is no such file"),
        (["{shop}", "--by", "item"], "neither 'user' nor 'session'"),
        (["{shop}", "--k", "ten"], "whole numbers separated by commas"),
        (["{shop}", "--warmup", "1.5"], "share of the events"),
        (["{shop}", "--events", "cart"], "there are click, purchase"),
        (["{shop}", "--group", "town"], "no column 'town'"),
        (["{shop}", "--plot", "curve.gif"], ".png or .html"),
        (["{shop}", "--column", "item"], "our column=yours"),
        (["{shop}", "--settings", "nowhere.env"], "can't be read"),
        (["--compare", "a.json", "b.json"], "can't be read"),
    ],
)
def test_wrong_input_is_refused_without_a_traceback(shop, words, message):
    result = corrente("evaluate", *(word.format(shop=shop) for word in words), code=2)
    assert message in result.stderr
    assert "Traceback" not in result.output


def test_nothing_to_evaluate_is_a_usage_error():
    assert "--compare" in corrente("evaluate", code=2).output


def test_settings_from_a_file_are_used(shop, tmp_path):
    path = tmp_path / "mine.env"
    path.write_text('CORRENTE_MODEL__WEIGHTS={"purchase": 5.0}\n')
    text = corrente("evaluate", shop, "--every", "20", "--settings", path, "--json").stdout
    assert json.loads(text.splitlines()[-1])["settings"]["weights"] == {**DEFAULT_WEIGHTS, "purchase": 5.0}
    path.write_text("CORRENTE_MODEL__WEIGHT=5\n")
    assert "Did you mean" in corrente("evaluate", shop, "--settings", path, code=2).stderr


def test_tuning_writes_a_settings_file_that_evaluate_takes(shop, tmp_path):
    out = tmp_path / "tuned.env"
    words = ("tune", shop, "--trials", "2", "--every", "8", "--out", out)
    assert "following part, judged on" in corrente(*words).stdout
    corrente("evaluate", shop, "--every", "50", "--settings", out)


def ratings(folder, item):
    rows = ["ts\tuser\titem\tevent"]
    rows += [f"{step}\tu{step % 9}\ti{item(step)}\tr{4 + step % 2}" for step in range(300)]
    with gzip.open(folder / "ml100k.tsv.gz", "wt") as file:
        file.write("\n".join(rows) + "\n")


def test_quality_prints_required_figures_beside_reached_ones(tmp_path):
    ratings(tmp_path, lambda step: step % 7)
    result = corrente("quality", tmp_path, "--only", "ml100k r5", "--shards", "2", "--json")
    report = json.loads(result.stdout.splitlines()[-1])["ml100k r5"]
    assert report["passed"] is True
    assert report["must"] == {"hr": 0.187}
    assert report["sharding"]["shards"] == 2
    assert "--events r5 --no-repeats --warmup 0.3" in report["command"]
    assert "0.187" in result.stdout


def test_quality_fails_if_a_required_figure_is_not_reached(tmp_path):
    ratings(tmp_path, lambda step: step)
    assert "short" in corrente("quality", tmp_path, "--only", "ml100k", "--shards", "1", code=1).stdout


def test_quality_names_missing_files_streams_and_folders(tmp_path):
    assert "has none of" in corrente("quality", tmp_path, "--only", "globo", code=2).stderr
    assert "no stream is called" in corrente("quality", tmp_path, "--only", "netflix", code=2).stderr
    assert "no such folder" in corrente("quality", tmp_path / "nowhere", code=2).stderr


# ---- degenerate streams


def evaluated(tmp_path, rows, *words, code=0):
    path = tmp_path / "odd.tsv"
    path.write_text("\n".join(["ts\tuser\titem\tevent", *rows]) + "\n")
    result = corrente("evaluate", path, "--warmup", "0", *words, "--json", code=code)
    return result.stderr if code else json.loads(result.stdout.splitlines()[-1])


def test_one_visitor(tmp_path):
    report = evaluated(tmp_path, [f"{n}\tu\ti{n % 3}\tclick" for n in range(60)])
    assert report["n"] == 59
    assert report["blend"]["hr"]["10"] == pytest.approx(57 / 59)  # two targets were new items
    assert report["versus_best_source"]["hr@10"]["p"] is None
    assert any("one visitor" in note for note in report["notes"])


def test_one_item(tmp_path):
    report = evaluated(tmp_path, [f"{n}\tu{n % 4}\ti\tclick" for n in range(40)])
    assert report["blend"]["hr"]["10"] == 1.0
    assert any("one item" in note for note in report["notes"])


def test_all_items_new(tmp_path):
    report = evaluated(tmp_path, [f"{n}\tu{n % 4}\ti{n}\tclick" for n in range(40)])
    assert report["blend"]["hr"]["10"] == 0.0
    assert report["new_target_share"] == 1.0
    assert any("every tested item was new" in note for note in report["notes"])


def test_unsorted_time_is_taken_in_file_order_and_noted(tmp_path):
    rows = [f"{1000 - n}\tu{n % 4}\ti{n % 5}\tclick" for n in range(60)]
    report = evaluated(tmp_path, rows)
    assert report["n"] == 56
    assert report["blend"]["hr"]["10"] > 0.8
    assert any("59 of 60 rows are older" in note for note in report["notes"])


def test_repeated_rows_are_events_of_their_own(tmp_path):
    rows = [f"{n // 2}\tu{n // 2 % 4}\ti{n // 2 % 5}\tclick" for n in range(80)]
    report = evaluated(tmp_path, rows)
    assert report["events"] == 80
    assert any("40 rows repeat the row before" in note for note in report["notes"])


def test_unknown_kinds_weigh_one_like_any_other(tmp_path):
    rows = [f"{n}\tu{n % 4}\ti{n % 5}\tr{n % 3}" for n in range(60)]
    clicks = [row.replace("r0", "click").replace("r1", "click").replace("r2", "click") for row in rows]
    assert evaluated(tmp_path, rows)["blend"] == evaluated(tmp_path, clicks)["blend"]


@pytest.mark.parametrize("row", ["nan\tu\ti\tclick", "1\tu\t\tclick", "1\t\ti\tclick", "1\tu\ti\t", "inf\tu\ti\tclick"])
def test_a_bad_row_is_reported_with_its_line(tmp_path, row):
    assert "line 3" in evaluated(tmp_path, ["0\tu\ti\tclick", row, "2\tu\ti\tclick"], code=2)
