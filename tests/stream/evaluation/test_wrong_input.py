"""Wrong and unusual files through the command: a clear error or the right answer, never a silent zero."""

import gzip
import json

import pytest
import typer
from typer.testing import CliRunner

from stream.evaluation import cli

app = typer.Typer()
app.command()(cli.evaluate)

HEADER = "ts\tuser\titem\tevent\n"
ROWS = [f"{n}\tu{n % 5}\ti{(n // 5 + n % 5) % 6}\tclick\n" for n in range(200)]
"""Five visitors go round the same circle of six items."""
GOOD = HEADER + "".join(ROWS)


def rows(count, user="u{n}", item="i{n}", kind="click"):
    return HEADER + "".join(
        f"{n}\t{user.format(n=n % 5)}\t{item.format(n=n)}\t{kind.format(n=n % 2)}\n" for n in range(count)
    )


def ran(folder, content, *words, name="shop.tsv"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return CliRunner().invoke(app, [str(path), *words, "--json"])


SAME = {
    "plain": (GOOD, "shop.tsv"),
    "CRLF": (GOOD.replace("\n", "\r\n"), "shop.tsv"),
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD.encode(), "shop.tsv"),
    "blank lines at the end": (GOOD + "\n\n\n", "shop.tsv"),
    "no line end at the end": (GOOD.rstrip("\n"), "shop.tsv"),
    "commas": (GOOD.replace("\t", ","), "shop.csv"),
    "gzip without the ending": (gzip.compress(GOOD.encode()), "shop"),
    "two gzip files in one": (gzip.compress(HEADER.encode()) + gzip.compress("".join(ROWS).encode()), "shop.tsv.gz"),
    "columns in another order, and more of them": (
        "x\tevent\titem\tuser\tts\n"
        + "".join("1\t" + "\t".join(reversed(row.rstrip("\n").split("\t"))) + "\n" for row in ROWS),
        "shop.tsv",
    ),
    "JSON lines": (
        "".join(
            json.dumps(dict(zip(("ts", "user", "item", "event"), row.rstrip("\n").split("\t"), strict=True))) + "\n"
            for row in ROWS
        ),
        "shop.jsonl",
    ),
}


@pytest.fixture(scope="module")
def plain_figures(tmp_path_factory):
    result = ran(tmp_path_factory.mktemp("plain"), GOOD)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["sources"]


@pytest.mark.parametrize("form", SAME)
def test_however_the_same_events_are_written_the_figures_are_the_same(tmp_path, form, plain_figures):
    content, name = SAME[form]
    result = ran(tmp_path, content, name=name)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["sources"] == plain_figures
    assert plain_figures["transitions"]["mrr"]["10"] > 0.9


WRONG = {
    "an empty file": (b"", "the file is empty"),
    "a header alone": (HEADER, "no event in it, only the header"),
    "no item": (GOOD.replace("item", "thing", 1), "no column 'item'. There are: ts, user, thing, event"),
    "no visitor": (GOOD.replace("user", "who", 1), "no column 'user' or 'session'"),
    "no time": (GOOD.replace("ts", "when", 1), "no column 'ts' or 'timestamp'"),
    "no kind": (GOOD.replace("event", "what", 1), "--kind click"),
    "a column twice": (GOOD.replace("event", "item", 1), "2 columns 'item'"),
    "another separator": (GOOD.replace("\t", "^"), "say what separates them, such as --separator ';'"),
    "a time that is no number": (GOOD + "nan\tu1\ti1\tclick\n", "line 202: timestamp"),
    "a time without end": (GOOD + "inf\tu1\ti1\tclick\n", "line 202: timestamp"),
    "a time of no unit": (GOOD + "5000000000\tu1\ti1\tclick\n", "outside 1970 to 2106"),
    "a time before 1970": (GOOD + "-1\tu1\ti1\tclick\n", "line 202: timestamp"),
    "a visitor without a name": (GOOD + "300\t\ti1\tclick\n", "line 202: user"),
    "an item without a name": (GOOD + "300\tu1\t\tclick\n", "line 202: item"),
    "an event without a kind": (GOOD + "300\tu1\ti1\t\n", "line 202: event"),
    "a short row": (GOOD + "300\tu1\n", "line 202: 2 cells instead of 4"),
    "an id of 257 bytes": (GOOD + f"300\tu1\t{'x' * 257}\tclick\n", "1 to 256 bytes, this one has 257"),
    "a control character in an id": (GOOD + "300\tu1\ta\x00b\tclick\n", "line 202: item"),
    "another encoding": (GOOD.replace("i1", "é").encode("latin-1"), "line 3: item: not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), "line 1 is not UTF-8"),
    "no text at all": (bytes(range(128, 256)) * 40, "line 1 is not UTF-8"),
    "gzip cut off": (gzip.compress(GOOD.encode())[:-20], "gzip data is broken"),
    "gzip with a bit flipped": (gzip.compress(GOOD.encode())[:-8] + b"12345678", "gzip data is broken"),
    "one row": (HEADER + ROWS[0], "no visitor has a second event"),
    "no visitor comes twice": (
        HEADER + "".join(f"{n}\tu{n}\ti1\tclick\n" for n in range(50)),
        "no visitor has a second event",
    ),
    "a rating that is no number": (
        "ts\tuser\titem\tevent\tvalue\n1\tu\ta\trating\tnan\n",
        "line 2: value: 'nan' is not a finite number",
    ),
    "a split with other kinds": (GOOD.replace("click", "train", 1).replace("click", "test", 1), "frozen split"),
    "JSON that breaks off": (b'{"ts": 1, "user": "u", "item": "a", "event": "click"}\n{"ts":', "line 2: not a JSON"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_refused_with_the_reason_and_its_place(tmp_path, what):
    content, message = WRONG[what]
    result = ran(tmp_path, content, name="shop.jsonl" if "JSON" in what else "shop")
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.output
    assert len(result.stderr) < 1000


UNUSUAL = {
    "time goes back": (HEADER + "".join(reversed(ROWS)), "199 of 200 rows are older than the row before them", None),
    "every row twice": (HEADER + "".join(row + row for row in ROWS), "200 rows repeat the row before them", None),
    "one visitor": (rows(100, user="u", item="i1"), "there is one visitor", 1.0),
    "one item": (rows(100, item="a"), "there is one item", 1.0),
    "all items new": (rows(100), "every tested item was new", 0.0),
    "only negative feedback": (
        rows(100, item="a", kind="{n}").replace("\t0\n", "\tdislike\n").replace("\t1\n", "\treturn\n"),
        "no target was ever among the candidates",
        0.0,
    ),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_an_unusual_file_is_evaluated_with_a_note(tmp_path, what):
    content, note, hit_rate = UNUSUAL[what]
    result = ran(tmp_path, content)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert any(note in found for found in report["notes"])
    assert report["n"] > 0
    if hit_rate is not None:
        assert report["blend"]["hr"]["10"] == hit_rate


def test_unknown_kinds_weigh_as_much_as_a_click(tmp_path, plain_figures):
    names = ["click", "zap", "r5"]
    mixed = HEADER + "".join(row.replace("click", names[n % 3]) for n, row in enumerate(ROWS))
    assert json.loads(ran(tmp_path, mixed).stdout)["sources"] == plain_figures


def test_an_id_of_256_bytes_is_an_id(tmp_path):
    name = "é" * 128
    content = GOOD + "".join(f"{300 + n}\tu1\t{name}\tclick\n" for n in range(9))
    report = json.loads(ran(tmp_path, content, "--warmup", "0.96").stdout)
    assert report["n"] == 9
    assert report["blend"]["hr"]["10"] == pytest.approx(8 / 9), "all but the first event, whose item was new"


def test_ids_that_are_equal_as_numbers_are_different_ids(tmp_path):
    content = HEADER + "".join(f"{n}\tu{n % 3}\t{'1' if n % 2 else '01'}\tclick\n" for n in range(60))
    assert not any("one item" in note for note in json.loads(ran(tmp_path, content).stdout)["notes"])


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.tsv", tmp_path):
        result = CliRunner().invoke(app, [str(path)])
        assert result.exit_code == 2
        assert str(path) in result.stderr


def test_ids_written_as_fractions_are_named_where_nothing_can_be_tested(tmp_path):
    rows = ["1\t7.0\t42.0\tclick\n", "2\t7\t42\tclick\n", "3\t1e5\t42\tclick\n", "4\t100000\t42.0\tclick\n"]
    result = ran(tmp_path, HEADER + "".join(rows))
    assert result.exit_code == 2
    assert "no visitor has a second event" in result.output
    assert "note: user: 2 ids are whole numbers written as '7.0', '1e5'" in result.output


def test_a_file_is_evaluated_by_a_mapping_as_by_its_columns(tmp_path):
    (tmp_path / "shop.yaml").write_text("topics: {clicks: {fields: {item: sku, user: who, timestamp: at}}}")
    plain = ran(tmp_path, HEADER + "".join(ROWS[1:]))
    mapped = ran(tmp_path, "at\twho\tsku\tkind\n" + "".join(ROWS[1:]), "--mapping", str(tmp_path / "shop.yaml"))
    assert mapped.exit_code == 0, mapped.output
    assert json.loads(mapped.stdout)["sources"] == json.loads(plain.stdout)["sources"]
    timeless = ran(tmp_path, "at\twho\tsku\tkind\n" + ROWS[0], "--mapping", str(tmp_path / "shop.yaml"))
    assert "line 2: timestamp: nothing; a record in a file has no other time than its own" in timeless.output
