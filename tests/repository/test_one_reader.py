"""One reader of files: what went wrong with files of other programs comes out right, and alike, from every command."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from simulators.replay import Outcome, Plan, Report, Span, replay
from stream.catalogue.document_files import read_documents
from stream.catalogue.documents import Documents
from stream.catalogue.item import Item
from stream.evaluation import cli as evaluation
from stream.events import Click, check_event
from stream.ingest.files.cli import readable_again
from stream.ingest.files.columns import WrongFile
from stream.ingest.files.delimited import TableForm
from stream.profile import cli as profiling
from stream.values import seconds_of

JANUARY_14 = 1_705_190_400.0
"""2024-01-14T00:00:00Z."""


def app_of(command: Callable[..., Any]) -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app


EVALUATE, PROFILE = app_of(evaluation.evaluate), app_of(profiling.profile)


class Recorder:
    """A sender that keeps the events it was given."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []

    async def send(self, _: str, events: list[dict[str, Any]]) -> Outcome:
        self.sent += events
        return Outcome(acknowledged=len(events))


async def replayed(path: Path, columns: dict[str, str] | None = None, **options: Any) -> tuple[list[Any], Report]:
    """The events that `corrente replay` sends of a file, with the file's times, and the report."""
    form = TableForm.of(options.pop("columns_in_order", None), options.pop("separator", None))
    plan = Plan(path, columns or {}, times="keep", form=form, **options)
    recorder = Recorder()
    report = await replay(plan, recorder, span=Span.of(plan), progress=lambda _, __: None)
    return recorder.sent, report


def evaluated(path: Path, *words: str) -> Result:
    return CliRunner().invoke(EVALUATE, [str(path), *words, "--json"])


def profiled(path: Path, *words: str) -> dict[str, Any]:
    """What `corrente profile` says of a file that it can read."""
    result = CliRunner().invoke(PROFILE, [str(path), *words, "--json"])
    assert result.exit_code == 0, result.output
    described: dict[str, Any] = json.loads(result.stdout)
    return described


def imported(path: Path) -> list[str]:
    """The titles of the items that `corrente import` reads of a file."""
    return [each.document.title for each in read_documents(path, Documents(Item), "item")]


def written(folder: Path, name: str, *lines: str) -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    return path


def shop(titles: dict[int, str]) -> list[str]:
    """60 clicks of 7 visitors, with some titles as they stand in the file, by line."""
    rows = [f"{n},u{n % 7},i{n % 5},click,{titles.get(n, 'Lamp')}" for n in range(2, 62)]
    return ["ts,user,item,event,title", *rows]


@pytest.mark.parametrize("titles", [{22: '"Wire 6'}, {22: '"Wire 6', 42: '"Star'}], ids=["one", "two"])
async def test_a_stray_quote_in_a_column_that_nobody_reads_ends_each_command_with_its_line(
    tmp_path: Path, titles: dict[int, str]
) -> None:
    path = written(tmp_path, "a.csv", *shop(titles))
    reason = "a.csv: line 22: a quote opens a cell and "
    with pytest.raises(WrongFile, match=reason):
        await replayed(path)
    for app in (EVALUATE, PROFILE):
        result = CliRunner().invoke(app, [str(path)])
        assert result.exit_code == 2
        assert reason in result.output
        assert result.stdout == ""
    items = written(tmp_path, "a.csv", "item,title,tags", *(f"i{n},{titles.get(n, 'Lamp')},t" for n in range(2, 62)))
    with pytest.raises(WrongFile, match=reason):
        imported(items)


async def test_a_quote_within_a_cell_costs_no_row(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", *shop({22: 'Wire 6"', 42: '27" TV'}))
    sent, report = await replayed(path)
    assert (len(sent), report.rows, report.unreadable) == (60, 60, 0)
    assert profiled(path)["measured"]["events"] == 60
    assert evaluated(path).exit_code == 0


async def test_rows_of_another_width_are_counted_by_reason_and_give_no_items(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", "ts,user,item,event", "1,u,tea,click", "2,u,cup, blue,click", "3,u,cup,click")
    sent, report = await replayed(path)
    assert [event["item"] for event in sent] == ["tea", "cup"]
    assert report.summary()["unreadable_by_reason"] == {"5 cells instead of 4": 1}
    result = evaluated(path)
    assert (result.exit_code, "a.csv: line 3: 5 cells instead of 4" in result.stderr) == (2, True)
    (reason,) = profiled(path)["measured"]["reasons"]
    assert (reason["rows"], reason["line"], reason["reason"]) == (1, 3, "5 cells instead of 4")
    with pytest.raises(WrongFile, match="line 2: 4 cells instead of 3"):
        imported(written(tmp_path, "b.csv", "item,title,tags", "cup,Cup, blue,t"))


@pytest.mark.parametrize(
    "lines",
    [
        [
            "ts\tuser\titem\tevent",
            '1700000000\tada\t"cup ""blue"""\tclick',
            '1700000001\tada\t"tea, green"\tclick',
            '1700000002\tbob\tcup "blue"\tclick',
        ],
        [
            '"ts"\t"user"\t"item"\t"event"',
            '"1"\t1700000000\t"ada"\t"cup \\"blue\\""\t"click"',
            '"2"\t1700000001\t"ada"\t"tea, green"\t"click"',
            '"3"\t1700000002\t"bob"\t"cup \\"blue\\""\t"click"',
        ],
    ],
    ids=["pandas", "R"],
)
async def test_quoted_tsv_is_read_as_its_writer_meant_it(tmp_path: Path, lines: list[str]) -> None:
    path = written(tmp_path, "a.tsv", *lines)
    sent, _ = await replayed(path)
    assert [(event["user"], event["item"]) for event in sent] == [
        ("ada", 'cup "blue"'),
        ("ada", "tea, green"),
        ("bob", 'cup "blue"'),
    ]
    assert profiled(path)["measured"]["ids"]["item"]["distinct"] == 2
    result = evaluated(path, "--warmup", "0")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n"] == 1, "the second event of ada"
    items = [line.replace("user", "title").replace("event", "labels.kind") for line in lines]
    assert imported(written(tmp_path, "b.tsv", *(line.replace("ts", "labels.ts") for line in items))) == [
        *("ada", "ada", "bob"),
    ]


@pytest.mark.parametrize("separator", ["\t", "::"])
async def test_a_file_without_a_header_names_what_to_say_and_then_keeps_its_first_row(
    tmp_path: Path, separator: str
) -> None:
    rows = [(5, 5, 3, 881250949), (186, 302, 3, 891717742), (5, 6, 4, 891717743)]
    path = written(tmp_path, "u.data", *(separator.join(map(str, row)) for row in rows))
    result = evaluated(path)
    assert result.exit_code == 2
    assert "Line 1 seems to be an event instead of names of columns" in result.stderr
    assert "--columns ts,user,item" in result.stderr
    with pytest.raises(WrongFile, match=r"--columns ts,user,item"):
        await replayed(path)
    sent, _ = await replayed(path, columns_in_order="user,item,value,ts", kind="rating")
    assert [(event["user"], event["item"], event["value"]) for event in sent] == [
        ("5", "5", 3.0),
        ("186", "302", 3.0),
        ("5", "6", 4.0),
    ]
    named = ("--columns", "user,item,value,ts", "--kind", "rating")
    assert profiled(path, *named)["measured"]["events"] == 3
    assert evaluated(path, *named).exit_code == 0


TIMES = {
    "a date of eight digits": "20240114",
    "a date": "2024-01-14",
    "a time in UTC": "2024-01-14 00:00:00 UTC",
    "seconds": "1705190400",
    "milliseconds": "1705190400000",
    "microseconds": "1705190400000000",
    "nanoseconds": "1705190400000000000",
}


@pytest.mark.parametrize("text", TIMES.values(), ids=TIMES)
async def test_a_time_is_the_same_in_files_and_over_http(tmp_path: Path, text: str) -> None:
    lines = [f"{text},ada,tea,click", f"{text},ada,cup,click"]
    path = written(tmp_path, "a.csv", "event_date,user,item,event", *lines)
    sent, _ = await replayed(path, {"ts": "event_date"})
    assert [event["timestamp"] for event in sent] == [JANUARY_14] * 2
    measured = profiled(path, "--column", "ts=event_date")["measured"]
    assert (measured["first"], measured["last"]) == (JANUARY_14, JANUARY_14)
    for timestamp in (text, *([int(text)] if text.isdigit() else [])):
        check_event(Click(item="tea", user="ada", timestamp=timestamp), JANUARY_14)
        assert seconds_of(timestamp) == JANUARY_14


async def test_ids_that_are_whole_numbers_written_otherwise_are_named_by_each_command(tmp_path: Path) -> None:
    rows = [("7.0", "42.0"), ("7", "42"), ("1e5", "42"), ("100000", "42.0"), ("7", "42.0")]
    path = written(tmp_path, "a.csv", "ts,user,item,event", *(f"{n},{u},{i},click" for n, (u, i) in enumerate(rows, 1)))
    cautions = [
        "item: 1 id is a whole number written as '42.0': another id than '42'",
        "user: 2 ids are whole numbers written as '7.0', '1e5': other ids than '7', '100000'",
    ]
    _, report = await replayed(path)
    assert report.cautions == [f"{caution}; write whole numbers as such" for caution in cautions]
    said = json.dumps(json.loads(evaluated(path, "--warmup", "0").stdout)["notes"])
    described = json.dumps(profiled(path))
    for caution in cautions:
        assert caution in said
        assert caution in described


RATINGS = [(1_700_000_000 + n, f"u{n % 8}", f"i{n * 7 % 20}", 1 + n * 3 % 5) for n in range(300)]


@pytest.mark.parametrize("kinds", [("rating", "rating"), ("view", "rating")], ids=["alone", "beside a view"])
def test_stars_matter_in_a_file_of_ratings(tmp_path: Path, kinds: tuple[str, str]) -> None:
    figures = []
    for equal in (False, True):
        rows = [
            f"{ts},{user},{item},{kinds[0 if not number else 1]},{3 if equal else stars}"
            for number, (ts, user, item, stars) in enumerate(RATINGS)
        ]
        header, words = "ts,user,item,event,stars", ["--column", "value=stars"]
        if kinds == ("rating", "rating"):
            header, words = "ts,user,item,what,stars", [*words, "--kind", "rating"]
        result = evaluated(written(tmp_path, "a.csv", header, *rows), *words)
        assert result.exit_code == 0, result.output
        figures.append(json.loads(result.stdout)["blend"])
    assert figures[0] != figures[1]


class Foreign(NamedTuple):
    """A file of another program, and the reason for its line 3, which is wrong."""

    lines: list[str]
    columns: dict[str, str]
    reason: str


FOREIGN = {
    "RetailRocket": Foreign(
        ["timestamp,visitorid,event,itemid,transactionid", "1700000000000,1,view,7,", "1700000000,,addtocart,8,"],
        {"user": "visitorid", "item": "itemid"},
        "user: neither a user nor a session",
    ),
    "REES46": Foreign(
        ["event_time,event_type,product_id,user_id", "2024-01-14 00:00:00 UTC,view,8,1", "14 January,cart,9,2"],
        {"ts": "event_time", "event": "event_type", "item": "product_id", "user": "user_id"},
        "timestamp: '14 January' is neither seconds since the epoch nor RFC 3339 (2026-01-31T12:00:00Z)",
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
async def test_each_command_gives_the_same_reason_for_a_row_that_is_no_event(tmp_path: Path, name: str) -> None:
    lines, columns, reason = FOREIGN[name]
    path = written(tmp_path, "a.csv", *lines)
    sent, report = await replayed(path, columns)
    assert (len(sent), report.problems) == (1, [f"line 3: {reason}"])
    options = [word for ours, theirs in columns.items() for word in ("--column", f"{ours}={theirs}")]
    assert f"a.csv: line 3: {reason}" in evaluated(path, *options).stderr
    (said,) = profiled(path, *options)["measured"]["reasons"]
    assert (said["line"], said["reason"]) == (3, reason)


async def test_a_pipe_is_replayed_evaluated_and_profiled(tmp_path: Path) -> None:
    content = written(tmp_path, "a.csv", *shop({})).read_bytes()
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)

    def fill() -> threading.Thread:
        thread = threading.Thread(target=lambda: pipe.write_bytes(content))
        thread.start()
        return thread

    filling = fill()
    with readable_again(pipe) as path:
        sent, _ = await replayed(path)
    filling.join()
    assert len(sent) == 60
    filling = fill()
    assert profiled(pipe)["measured"]["events"] == 60
    filling.join()
    filling = fill()
    assert evaluated(pipe).exit_code == 0
    filling.join()
