"""Scripts name every argument: Python's fields and Lua's variables come from one record, and no position is written."""

from __future__ import annotations

import re

import pytest

from stream.versions.storage import heal_scripts, requests, scripts

WITH_REQUESTS = {
    "CLAIM": requests.ClaimRequest,
    "NEW_LINEAGE": requests.LineageRequest,
    "LEAVE": requests.LeaveRequest,
    "PUBLISH": requests.PublishRequest,
    "CHAIN": requests.ChainRequest,
    "MOVE_ALIAS": requests.AliasRequest,
    "REENCODE": requests.ReencodeRequest,
    "DROP_STATES": requests.DropRequest,
    "REPORT": requests.ReportRequest,
    "SET_ASIDE": requests.SetAsideRequest,
}
SCRIPTS = {name: source for room in (scripts, heal_scripts) for name, source in vars(room).items() if name.isupper()}


def header_and_body(source: str) -> tuple[list[str], str]:
    lines = source.split("\n")
    ends = next(number for number, line in enumerate(lines) if line.startswith("local more_at"))
    return lines[: ends + 1], "\n".join(lines[ends + 1 :])


@pytest.mark.parametrize("name", WITH_REQUESTS)
def test_the_header_names_each_field_at_its_position(name):
    fields = WITH_REQUESTS[name]._fields
    header, body = header_and_body(SCRIPTS[name])
    assert header[:-1] == [f"local {field} = ARGV[{at}]" for at, field in enumerate(fields, start=1)]
    assert header[-1] == f"local more_at = {len(fields) + 1}"
    code = re.sub(r"--.*", "", body)
    assert [field for field in fields if not re.search(rf"\b{field}\b", code)] == [], "a field that no step uses"


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_position_is_written_by_hand(name):
    body = header_and_body(SCRIPTS[name])[1] if name in WITH_REQUESTS else SCRIPTS[name]
    assert re.findall(r"\w+\[\d+\]", body.replace("KEYS[1]", "")) == []


def test_every_script_that_names_arguments_was_looked_at():
    assert {name for name, source in SCRIPTS.items() if "more_at" in source} == set(WITH_REQUESTS)
