"""`corrente import` writes a file's documents once, says what the catalogue holds, and names the line that is wrong."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from stream.catalogue_store.import_cli import app
from stream.catalogue_store.store import CatalogueStore
from stream.versions import VersionStore

TABLE = """sku,title,categories,tags,price,available,labels.size,labels.lid
cup,"Cup, blue",home/kitchen|gifts,tea|blue,4.50,true,2,false
pot,Pot,home/kitchen,,20,no,,true
"""


@pytest.fixture
def corrente(shared_redis, versions: VersionStore, monkeypatch):
    monkeypatch.setenv("CORRENTE_REDIS", shared_redis.url)
    monkeypatch.setenv("CORRENTE_MODEL_NAME", versions.model)

    def run(*arguments: str, exit_code: int = 0) -> str:
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == exit_code, result.output
        return result.output

    return run


def written(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return str(path)


@pytest.mark.parametrize("name", ["items.csv", "items.csv.gz"])
def test_a_table_is_written_with_its_columns_as_they_are_meant(
    corrente, store: CatalogueStore, tmp_path: Path, name: str
) -> None:
    said = corrente("items", written(tmp_path, name, TABLE), "--column", "item=sku")
    assert "2 items read, 2 of them new or changed. The catalogue holds 2 items, at revision 2." in said
    cup, pot = store.items.page(None, 10)[0]
    assert (cup.document.title, cup.document.price, cup.document.available) == ("Cup, blue", 4.5, True)
    assert (cup.document.categories, cup.document.tags) == (["home/kitchen", "gifts"], ["tea", "blue"])
    assert (cup.document.labels, pot.document.labels) == ({"size": 2, "lid": False}, {"lid": True})
    assert pot.document.available is False


def test_a_command_that_is_repeated_writes_what_has_changed_alone(
    corrente, store: CatalogueStore, tmp_path: Path
) -> None:
    lines = [json.dumps({"item": f"i{number}", "price": number}) for number in range(1200)]
    file = written(tmp_path, "items.jsonl", "\n".join(lines))
    first = json.loads(corrente("items", file, "--json"))
    assert first == {"read": 1200, "written": 1200, "holds": 1200, "revision": 1200}
    assert json.loads(corrente("items", file, "--json"))["written"] == 0
    lines[7] = json.dumps({"item": "i7", "price": 7000})
    again = json.loads(corrente("items", written(tmp_path, "items.jsonl", "\n".join(lines)), "--json"))
    assert again == {"read": 1200, "written": 1, "holds": 1200, "revision": 1201}
    found = store.items.read("i7")
    assert found is not None
    assert found.document.price == 7000


def test_profiles_are_written_from_lines_of_json(corrente, store: CatalogueStore, tmp_path: Path) -> None:
    file = written(
        tmp_path, "users.jsonl", '{"user": "ada", "country": "CH", "labels": {"trade": true}}\n{"user": 7}\n'
    )
    assert "The catalogue holds 2 profiles" in corrente("users", file)
    assert [each.id for each in store.users.page(None, 10)[0]] == ["7", "ada"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "item,titel\ncup,Cup\n", "no document has a field 'titel'. Did you mean title?"),
        ("a.csv", "sku,title\ncup,Cup\n", "no document has a field 'sku'"),
        ("a.csv", "item,price,tags\ncup,1,a\npot,cheap,a\n", "line 3: price: "),
        ("a.csv", "item,available,tags\ncup,perhaps,a\n", "line 2: available: 'perhaps' is neither true nor false"),
        ("a.csv", "item,title,tags\ncup,1\n", "line 2: 2 cells instead of 3"),
        ("a.jsonl", '{"item": "cup"}\n{"item": "pot", "prise": 1}\n', "line 2: prise: there is no such field"),
        ("a.jsonl", '{"item": "cup"}\n{"title": "Pot"}\n', "line 2: item: the id of the item is required"),
        ("a.jsonl", '{"item": "cup"}\n[]\n', "line 2: not a JSON object"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_written(
    corrente, store: CatalogueStore, tmp_path: Path, name: str, text: str, says: str
) -> None:
    said = corrente("items", written(tmp_path, name, text), exit_code=1)
    assert says in said
    assert "Nothing was written." in said
    assert store.items.revision() == 0


def test_columns_that_no_document_has_can_be_left_out(corrente, store: CatalogueStore, tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", "item,title,stock,tags\ncup,Cup,9,a\n")
    corrente("items", file, "--others", "ignore")
    found = store.items.read("cup")
    assert found is not None
    assert (found.document.title, found.document.tags) == ("Cup", ["a"])


def test_without_a_redis_the_command_says_so(corrente, tmp_path: Path) -> None:
    file = written(tmp_path, "a.jsonl", '{"item": "cup"}\n')
    assert "Redis does not answer" in corrente("items", file, "--redis", "redis://127.0.0.1:1/0", exit_code=1)
