"""Files of commands: standard input and pipes are read as often as a command needs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stream.ingest.files.cli import column_names, readable_again, record_mapping
from stream.ingest.files.columns import WrongFile
from stream.ingest.files.dataset import read_dataset

TABLE = "ts,user,item,event\n5,u,tea,click\n"


def test_a_file_is_read_where_it_is(tmp_path: Path) -> None:
    for path in (tmp_path / "a.csv", tmp_path, tmp_path / "missing.csv"):
        with readable_again(path) as same:
            assert same == path


def test_a_pipe_is_read_as_often_as_needed(tmp_path: Path) -> None:
    pipe = tmp_path / "history.csv"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(TABLE,))
    writer.start()
    with readable_again(pipe) as copy:
        writer.join()
        assert [read_dataset(copy).seconds.tolist() for _ in range(2)] == [[5.0], [5.0]]
        assert copy.name == "history.csv"
    assert not copy.exists()


def test_a_minus_is_standard_input() -> None:
    script = (
        "from pathlib import Path; from stream.ingest.files.dataset import read_dataset;"
        "from stream.ingest.files.cli import readable_again\n"
        "with readable_again(Path('-')) as copy: print(copy.name, read_dataset(copy).item.names)"
    )
    run = subprocess.run([sys.executable, "-c", script], input=TABLE, capture_output=True, text=True, check=True)
    assert run.stdout == "standard input ['tea']\n"


def test_a_column_is_named_as_ours_and_theirs() -> None:
    assert column_names(["item=product=id", "user=who"]) == {"item": "product=id", "user": "who"}
    with pytest.raises(WrongFile, match="our column=yours, such as item=product_id"):
        column_names(["item"])


ONE = "topics: {clicks: {fields: {item: sku, user: who, timestamp: at}}}"
TWO = "topics: {clicks: {fields: {item: sku, user: who}}, purchases: {fields: {item: sku, user: who}}}"


def test_the_mapping_is_that_of_the_option_or_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(ONE)
    two.write_text(TWO)
    monkeypatch.delenv("CORRENTE_MAPPING", raising=False)
    assert record_mapping(None, None, own_form=False) is None
    given = record_mapping(str(two), "purchases", own_form=False)
    assert given is not None
    assert (given.plan.topic, given.name) == ("purchases", str(two))
    monkeypatch.setenv("CORRENTE_MAPPING", str(one))
    found = record_mapping(None, None, own_form=False)
    assert found is not None
    assert found.plan.topic == "clicks"
    ready = record_mapping("retailrocket", None, own_form=False)
    assert ready is not None
    assert ready.given == "retailrocket"  # as a command takes it
    assert record_mapping(None, None, own_form=True) is None


@pytest.mark.parametrize(
    ("mapping", "topic", "own_form", "reason"),
    [
        ("two.yaml", None, False, r"say whose records are in the file \(--topic\). There are: clicks, purchases"),
        ("two.yaml", "purchase", False, r"it doesn't map 'purchase'. Did you mean 'purchases'"),
        ("two.yaml", "clicks", True, "--column and --kind are for files without a mapping"),
        (None, "clicks", False, "--topic names a topic of a mapping, and there is none"),
        ("three.yaml", None, False, "there is no such file, and no ready-made mapping of this name"),
    ],
)
def test_a_mapping_that_cannot_be_meant_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mapping: str | None,
    topic: str | None,
    own_form: bool,
    reason: str,
) -> None:
    monkeypatch.delenv("CORRENTE_MAPPING", raising=False)
    (tmp_path / "two.yaml").write_text(TWO)
    with pytest.raises(WrongFile, match=reason):
        record_mapping(mapping and str(tmp_path / mapping), topic, own_form=own_form)
