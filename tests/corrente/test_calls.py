"""Calls that fail: what is sent again, after how long, and which error remains. For both clients."""

from __future__ import annotations

import socket

import pytest

from corrente import (
    Click,
    Conflict,
    CorrenteError,
    Invalid,
    Item,
    NotAllowed,
    NotFound,
    Purchase,
    Refused,
    Retries,
    TooMany,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)
from tests.corrente.scripted_server import Step, problem


def test_a_call_is_sent_again_after_waits_that_double(connect, server) -> None:
    server.script = [problem(503), None, problem(502)]
    shop = connect()
    assert shop.do("live").status == "live"
    assert shop.slept == [0.05, 0.1, 0.2]  # half of 0.1, 0.2 and 0.4 s
    assert len(server.received) == 4


def test_the_time_that_the_server_names_is_waited_first(connect, server) -> None:
    server.script = [problem(429, retry_after="2"), problem(503, retry_after="Fri, 15 Jan 2027 08:00:03 GMT")]
    shop = connect()
    shop.do("live")
    assert shop.slept == [2.05, 3.1]  # the clock of the test says 08:00:00


def test_the_reason_of_a_reading_is_a_header_of_plain_ascii(connect, server) -> None:
    server.script = [Step(200, body={"user": "ada", "revision": 1})]
    connect().do("user", "ada", why="Größe of 100 %")
    assert server.received[0].headers["x-why"] == "Gr%C3%B6%C3%9Fe of 100 %25"


def test_a_time_beyond_all_patience_ends_the_call_at_once(connect, server) -> None:
    server.script = [problem(429, "5 events on a day", retry_after="3600")]
    shop = connect()
    with pytest.raises(TooMany, match="5 events on a day") as refused:
        shop.do("send", Click("teapot", user="ada"))
    assert refused.value.retry_after_seconds == 3600
    assert shop.slept == []


def test_waits_end_with_the_number_of_attempts_and_with_the_error_of_the_last_one(connect, server) -> None:
    server.script = [problem(503, f"number {number}") for number in range(9)]
    shop = connect(retries=Retries(most=2, chance=lambda: 0.0))
    with pytest.raises(Unavailable, match="number 2"):
        shop.do("live")
    assert len(server.received) == 3


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, Invalid) for status in (400, 413, 415, 422)),
        *((status, NotAllowed) for status in (401, 403)),
        (404, NotFound),
        (409, Conflict),
        (405, Refused),
        (500, Unavailable),
    ],
)
def test_a_refusal_that_stays_is_raised_at_once(connect, server, status: int, kind: type[Refused]) -> None:
    server.script = [problem(status, "the reason", field="n")]
    with pytest.raises(kind) as refused:
        connect().do("popular")
    assert (refused.value.status, refused.value.detail, refused.value.field) == (status, "the reason", "n")
    assert len(server.received) == 1


def test_no_server_at_all_is_unreachable(connect) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(Unreachable, match="does not answer GET /v1/popular"):
        connect(address, retries=Retries(most=0)).do("popular")


@pytest.mark.parametrize("step", [Step(200, {}, ["no list"]), Step(302, {"location": "/login"})])
def test_another_program_at_the_address_is_told_from_a_server(connect, server, step: Step) -> None:
    server.script = [step]
    with pytest.raises(UnexpectedAnswer):
        connect().do("popular")


def test_events_keep_their_ids_over_all_attempts(connect, server) -> None:
    server.script = [None, problem(503, elements=[{"event_id": "x", "status": "accepted"}])]
    accepted = connect().do("send", [Click("teapot", user="ada"), Click("cups", user="ada")])
    assert accepted.accepted == 2
    assert server.events == [accepted.event_ids] * 3
    assert len(set(accepted.event_ids)) == 2


def test_events_of_several_kinds_are_sent_to_their_routes_and_keep_their_order_in_the_answer(connect, server) -> None:
    given = [Click("a", user=1, event_id="1"), Purchase("b", user=1, price=2.5, event_id="2")]
    given.append(Click("c", session="s", event_id="3"))
    assert connect(batch_events=1).do("send", given).event_ids == ["1", "2", "3"]
    assert [(request.path, request.body) for request in server.received] == [
        ("/v1/events/clicks", [{"item": "a", "user": 1, "event_id": "1"}]),
        ("/v1/events/clicks", [{"item": "c", "session": "s", "event_id": "3"}]),
        ("/v1/events/purchases", [{"item": "b", "user": 1, "price": 2.5, "event_id": "2"}]),
    ]


def test_a_field_has_the_name_that_the_server_reads(connect, server) -> None:
    connect(names={"item": "product", "event_id": "id"}).do("enqueue", Click("a", user=1, event_id="1"))
    shop = connect(names={"item": "product", "user": "customer"})
    server.script = [Step(202, {}, {"accepted": 1, "event_ids": ["1"]})]
    shop.do("send", Click("a", user=1, event_id="1"))
    assert {"product": "a", "customer": 1, "event_id": "1"} in [each.body[0] for each in server.received]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("roll_back", (1,)), ("follow_newest", ()), ("put_item", ("a", Item(), 3)), ("patch_user", ("a", {}, 3))],
)
def test_what_does_something_else_the_second_time_is_repeated_only_if_nothing_was_done(
    connect, server, name: str, arguments: tuple
) -> None:
    options = {}
    if len(arguments) == 3:
        *arguments, options["revision"] = arguments
    shop = connect()
    server.script = [None]
    with pytest.raises(Unreachable):
        shop.do(name, *arguments, **options)
    server.script = [problem(429), problem(503)]
    with pytest.raises(Unavailable):
        shop.do(name, *arguments, **options)
    assert len(shop.slept) == 1


def test_a_key_is_sent_as_a_header_and_shown_nowhere(connect, server) -> None:
    keys = iter(["corrente_first", "corrente_second\n"])
    shop = connect(key=lambda: next(keys), token="signed", origin="https://shop.example")
    server.script = [problem(503), problem(401, "unknown")]
    with pytest.raises(CorrenteError) as refused:
        shop.do("popular")
    sent = [{name.lower(): value for name, value in each.headers.items()} for each in server.received]
    assert [each["x-api-key"] for each in sent] == ["corrente_first", "corrente_second"]
    assert {each["x-visitor-token"] for each in sent} == {"signed"}
    assert {each["origin"] for each in sent} == {"https://shop.example"}
    assert "corrente_" not in f"{refused.value!r} {shop.client!r} {shop.client._exchange!r}"
