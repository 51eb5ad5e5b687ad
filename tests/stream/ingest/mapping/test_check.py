"""`corrente mapping`: what samples become and why, what is wrong, and what is doubtful."""

from __future__ import annotations

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from stream.ingest.mapping.cli import app
from stream.ingest.mapping.loading import ready_names
from stream.ingest.mapping.plan import WrongMapping, plan_of

MAPPING = """topics:
  clicks:
    otherwise: leave_out
    fields: {user: [user_id, anonymous_id], timestamp: {path: at, unit: ms}, event_id: id}
    rules:
      - when: {name: view}
        fields: {item: product.sku}
      - when: {name: order}
        kind: purchase
        fields: {item: "lines[].sku", quantity: "lines[].count"}
"""
VIEW = {"name": "view", "id": "v", "user_id": "ada", "anonymous_id": "x", "at": 1000, "product": {"sku": "tea"}}
ORDER = {
    "name": "order",
    "id": "o",
    "anonymous_id": "x",
    "at": 2000,
    "lines": [{"sku": "tea", "count": 2}, {"sku": "cup"}],
}


def checked(folder: Path, *records: Any, mapping: str = MAPPING, options: tuple[str, ...] = ()) -> Result:
    path, sample = folder / "shop.yaml", folder / "sample.jsonl"
    path.write_text(mapping)
    sample.write_text("\n".join(map(json.dumps, records)))
    return CliRunner().invoke(app, ["check", str(path), "--sample", str(sample), *options])


def test_every_field_comes_with_its_path_its_value_and_the_reason(tmp_path: Path) -> None:
    found = json.loads(checked(tmp_path, VIEW, ORDER, options=("--json",)).stdout)
    assert found["problems"] == found["cautions"] == []
    view, order = found["records"]
    fields = {each["field"]: each for each in view["events"][0]["fields"]}
    assert (view["rule"], view["line"], view["events"][0]["kind"]) == (1, 6, "click")
    assert fields["item"] == {"field": "item", "path": "product.sku", "value": "tea", "reason": ""}
    assert fields["user"]["reason"] == "number 1 of 2 paths, the first with a value"
    assert (fields["timestamp"]["value"], fields["timestamp"]["reason"]) == (1.0, "in ms, here in seconds")
    second = {each["field"]: each for each in order["events"][1]["fields"]}
    assert (second["item"]["path"], second["event_id"]["value"], second["user"]["path"]) == (
        "lines[1].sku",
        "o#1",
        "anonymous_id",
    )
    assert second["quantity"]["reason"] == "nothing there"


def test_a_path_that_no_record_has_ends_the_check_with_its_line_and_the_nearest(tmp_path: Path) -> None:
    result = checked(tmp_path, VIEW, ORDER, mapping=MAPPING.replace("lines[].count", "lines[].cuont"))
    assert result.exit_code == 1
    assert (
        "shop.yaml, line 10: quantity: no sample record has 'lines[].cuont'. Did you mean 'lines[].count'?"
        in result.stdout
    )


def test_a_record_that_would_be_a_dead_letter_ends_the_check_with_its_reason(tmp_path: Path) -> None:
    result = checked(tmp_path, VIEW, {**VIEW, "product": {"sku": ""}}, ORDER)
    assert result.exit_code == 1
    assert "record 2: rule 1, line 6: dead_letters: item: an id is 1 to 256 bytes, this one is empty" in result.stdout


def test_a_condition_that_never_holds_is_a_caution_with_the_values_that_are_there(tmp_path: Path) -> None:
    result = checked(tmp_path, VIEW, {"name": "page"})
    assert result.exit_code == 0
    assert (
        "line 8: the condition on 'name' never holds: it wants 'order', and the sample has 'view', 'page'"
        in result.stdout
    )
    assert "record 2: no rule: unlearned:unmapped" in result.stdout
    assert "2 records: 1 becomes 1 event, 0 dead letters, 1 left out" in result.stdout


@pytest.mark.parametrize(
    ("sample", "text"),
    [("[1]", "a sample is one JSON object"), ('{"a": 1}\n{', "line 2: not JSON"), ("", "a sample is one JSON object")],
)
def test_a_sample_that_can_not_be_read_is_said(tmp_path: Path, sample: str, text: str) -> None:
    (tmp_path / "shop.yaml").write_text(MAPPING)
    (tmp_path / "sample.json").write_text(sample)
    result = CliRunner().invoke(app, ["check", str(tmp_path / "shop.yaml"), "--sample", str(tmp_path / "sample.json")])
    assert result.exit_code == 1
    assert text in result.stderr


def test_a_table_is_a_sample_too(tmp_path: Path) -> None:
    sample = tmp_path / "events.csv"
    sample.write_text("timestamp,visitorid,event,itemid,transactionid\n1433221332117,257597,view,355908,\n")
    result = CliRunner().invoke(app, ["check", "retailrocket", "--sample", str(sample)])
    assert result.exit_code == 0, result.output
    assert "item      '355908'  from itemid" in result.stdout


def test_ready_made_mappings_are_listed_and_shown_as_files_that_can_be_used() -> None:
    listed = CliRunner().invoke(app, ["list"]).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ready_names()
    for name in ready_names():
        assert plan_of(CliRunner().invoke(app, ["show", name]).stdout, name).topics
        assert CliRunner().invoke(app, ["check", name]).exit_code == 0
    unknown = CliRunner().invoke(app, ["show", "ga5"])
    assert (unknown.exit_code, "Did you mean 'ga4'?" in unknown.stderr) == (1, True)


def test_without_the_library_of_yaml_the_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(WrongMapping, match="pip install pyyaml"):
        plan_of(MAPPING, "shop.yaml")


def test_a_sample_that_is_a_table_is_read_as_replay_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text("topics: {clicks: {fields: {item: product, user: who}}}")

    def check(name: str, content: bytes) -> Result:
        sample = tmp_path / name
        sample.write_bytes(content)
        return CliRunner().invoke(app, ["check", str(path), "--sample", str(sample)])

    table = b'\xef\xbb\xbf"who";"product";"note"\r\n"ada";"27"" TV";"a;b"\r\n"bob";"tea";""\r\n'
    for name, content in {"sample.csv": table, "sample.csv.gz": gzip.compress(table), "sample": table}.items():
        found = check(name, content)
        assert found.exit_code == 0, found.output
        assert "'27\" TV'  from product" in found.stdout
        assert "2 records: 2 become 2 events" in found.stdout
    stray = check("stray.csv", b"who,product\nada,tea,1\n")
    assert stray.exit_code == 1
    assert "stray.csv, line 2: 3 cells instead of 2" in stray.stderr
    assert "only the header" in check("empty.csv", b"who,product\n").stderr
