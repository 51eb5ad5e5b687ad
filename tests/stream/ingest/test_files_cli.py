"""Files of commands: standard input and pipes are read as often as a command needs."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from stream.ingest.columns import WrongFile
from stream.ingest.files import read_dataset
from stream.ingest.files_cli import column_names, readable_again

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
        "from pathlib import Path; from stream.ingest.files import read_dataset;"
        "from stream.ingest.files_cli import readable_again\n"
        "with readable_again(Path('-')) as copy: print(copy.name, read_dataset(copy).item.names)"
    )
    run = subprocess.run([sys.executable, "-c", script], input=TABLE, capture_output=True, text=True, check=True)
    assert run.stdout == "standard input ['tea']\n"


def test_a_column_is_named_as_ours_and_theirs() -> None:
    assert column_names(["item=product=id", "user=who"]) == {"item": "product=id", "user": "who"}
    with pytest.raises(WrongFile, match="our column=yours, such as item=product_id"):
        column_names(["item"])
