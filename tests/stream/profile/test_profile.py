"""Profiles: figures of files that are known by construction, and a command that works when it is typed."""

from __future__ import annotations

import json
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stream.ingest.files.columns import WrongFile
from stream.ingest.files.delimited import TableForm
from stream.ingest.files.mapped import RecordMapping
from stream.ingest.mapping.plan import plan_of
from stream.models.settings import ModelSettings
from stream.profile.command import Options
from stream.profile.document import Document, profile
from stream.profile.page import page_of
from stream.profile.text import text_of

BEGIN = 1_767_225_600


def profiled(path: Path, *, named: dict[str, str] | None = None, **options: Any) -> Document:
    given = Options(**options)
    form = TableForm.of(given.columns, given.separator)
    return profile(path, path.name, named or {}, given, form=form, mapping=None, settings=ModelSettings())


def shop(folder: Path, name: str = "shop.csv") -> Path:
    """300 events of 10 visitors, one a minute, with a gap of ten days in the middle; one visitor has half of them."""
    draw = random.Random(5)
    rows = ["Customer ID;sku;when;what;unit price;colour"]
    for number in range(300):
        when = BEGIN + 60 * number + (864_000 if number >= 150 else 0)
        customer = 0 if number % 2 else draw.randrange(1, 10)
        item = min(int(draw.expovariate(0.2)), 19)
        kind = "addtocart" if number % 10 == 0 else "click"
        rows.append(f"c{customer};i{item};{when};{kind};{number % 7}.50;red")
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def test_the_figures_of_a_file_are_those_of_its_rows(tmp_path: Path) -> None:
    document = profiled(shop(tmp_path), named={"event": "what"})
    measured = document.measured
    assert measured is not None
    assert (measured.rows, measured.unreadable, measured.events) == (300, 0, 300)
    assert (measured.first, measured.last) == (BEGIN, BEGIN + 60 * 299 + 864_000)
    assert measured.kinds == {"click": 270, "addtocart": 30}
    assert measured.ids["user"].distinct == 10
    assert (measured.busiest_visitor.name, measured.busiest_visitor.events) == ("c0", 150)
    assert (measured.numbers["price"].least, measured.numbers["price"].most) == (0.5, 6.5)
    (gap,) = measured.timeline.gaps
    assert (gap.begin, gap.end) == (BEGIN + 60 * 149, BEGIN + 60 * 150 + 864_000)
    assert sum(measured.timeline.counts) == sum(measured.timeline.hours) == 300
    assert measured.popularity[-1] == (1.0, 1.0)
    assert measured.popularity == sorted(measured.popularity)
    assert sum(measured.visitor_lengths) == 10
    assert sum(measured.session_lengths) == measured.sessions.count
    assert any("did you mean 'cart'" in caution for caution in measured.cautions)
    assert any("'c0' has 50% of the events" in caution for caution in measured.cautions)
    read_as = {column.name: column.read_as for column in document.columns}
    assert read_as == {
        "Customer ID": "user", "sku": "item", "when": "ts", "what": "event", "unit price": "price", "colour": "",
    }  # fmt: skip


def test_everything_doubtful_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "ts,user,item,event,value,quantity,event_id\n"
        "5,ada,42,click,,,e1\n5,ada,42,click,,,e1\n4,NULL,42.0,click,,,e2\n"
        "6,Ada,tea,rating,9,,e3\n7,unknown,tea ,purchase,,0,e4\nsoon,ada,tea,click,,,e5\n8,,tea,click,,,e6\n"
    )
    measured = profiled(path).measured
    assert measured is not None
    assert (measured.unreadable, measured.backwards, measured.repeated, measured.repeated_ids) == (2, 1, 1, 1)
    assert [(reason.line, reason.rows) for reason in measured.reasons] == [(7, 1), (8, 1)]
    said = "\n".join(measured.cautions)
    for part in (
        "user: 'NULL' (1 event) stands for no id",
        "user: 'unknown' (1 event) looks like a word for no id",
        "item: 1 id is a whole number written as '42.0'",
        "item: 1 ids ('tea ') begin or end with blanks",
        "user: 1 ids differ from another one by case alone, such as 'ada' and 'Ada'",
        "1 events are older than the event before them",
        "1 events repeat the event before them",
        "1 events have the event_id of an earlier one",
        "quantity: 1 events have 0",
        "value: 1 ratings are outside the scale of 0 to 5",
    ):
        assert part in said


def test_a_burst_is_named_with_its_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    times = sorted([*range(0, 36_000, 60), *(18_000 + number / 10 for number in range(300))])
    path.write_text("ts,user,item\n" + "".join(f"{BEGIN + at},u,i\n" for at in times))
    measured = profiled(path).measured
    assert measured is not None
    (burst,) = measured.timeline.bursts
    assert burst.begin == BEGIN + 18_000
    assert burst.events >= 300


def test_records_of_a_mapping_are_profiled_as_the_events_they_become(tmp_path: Path) -> None:
    text = "topics: {purchases: {fields: {item: 'lines[].sku', user: who, timestamp: at}}}"
    (tmp_path / "shop.yaml").write_text(text)
    (plan,) = plan_of(text, "shop.yaml").topics.values()
    path = tmp_path / "orders.jsonl"
    record = {"who": "ada", "at": BEGIN, "lines": [{"sku": "tea"}, {"sku": "cup"}]}
    path.write_text("".join(json.dumps(each) + "\n" for each in (record, {**record, "lines": []}, {"who": "bob"})))
    given = Options(mapping="shop.yaml")
    mapping = RecordMapping(plan, "shop.yaml")
    document = profile(path, path.name, {}, given, form=TableForm(), mapping=mapping, settings=ModelSettings())
    measured = document.measured
    assert measured is not None
    assert (measured.rows, measured.unreadable, measured.left_out) == (3, 1, {"empty_list": 1})
    assert (measured.events, measured.kinds) == (2, {"purchase": 2})
    assert document.command == "corrente replay orders.jsonl --mapping shop.yaml --check"


def test_a_file_of_which_no_row_is_an_event_says_why_and_has_no_command(tmp_path: Path) -> None:
    path = tmp_path / "a.data"
    path.write_text("5\t5\t3\t881250949\n186\t302\t3\t891717742\n")
    document = profiled(path)
    assert (document.measured, document.command) == (None, "")
    assert "Name its 4 columns in their order, such as --columns ts,user,item" in document.why_not
    assert document.why_not in text_of(document)
    named = profiled(path, columns="user,item,value,ts")
    assert named.command == "corrente replay a.data --columns user,item,value,ts --kind rating --check"
    (tmp_path / "broken.jsonl").write_text('{"ts": 5,\n')
    assert "no row can be read as an event; line 1: not a JSON object" in profiled(tmp_path / "broken.jsonl").why_not
    (tmp_path / "stray.csv").write_text('ts,user,item,title\n1,u,a,x\n2,u,a,"x\n3,u,a,y\n')
    with pytest.raises(WrongFile, match=r"line 3: a quote opens a cell"):
        profiled(tmp_path / "stray.csv")


def test_the_page_asks_the_network_for_nothing_and_shows_no_markup_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('ts,user,item,event\n5,<script>alert(1)</script>,"""><img src=x>",click\n6,bob,tea,"<b>"\n')
    page = page_of(profiled(path))
    assert page.count("<svg") == 6
    assert not re.search(r"<script|<img|<link|<[^>]*\b(?:src|href)=|url\(|https?:|<b>", page)
    assert "&lt;script&gt;" in page


def corrente(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from stream.cli import main; import sys; sys.argv[0] = 'corrente'; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_the_command_at_the_end_works_when_typed(tmp_path: Path) -> None:
    shop(tmp_path, "my shop.csv")
    run = corrente("profile", "my shop.csv", "--column", "event=what", "--html", "page.html", folder=tmp_path)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    command = run.stdout.splitlines()[-1]
    assert command.startswith("corrente evaluate 'my shop.csv' --column event=what --column item=sku")
    evaluated = corrente(*shlex.split(command)[1:], "--json", folder=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    assert json.loads(evaluated.stdout.splitlines()[-1])
    described = corrente("profile", "my shop.csv", "--column", "event=what", "--json", folder=tmp_path)
    assert json.loads(described.stdout)["measured"]["events"] == 300
    assert json.loads(described.stdout)["command"] == command
