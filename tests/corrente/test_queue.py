"""Queued events: no page waits, nothing is dropped in silence, and one bad event takes no other with it."""

from __future__ import annotations

import os
import threading

import pytest

from corrente import Click, Client, Feedback, Purchase, Retries
from tests.corrente.scripted_server import ScriptedServer, accepted, problem

QUICK = Retries(first_seconds=0.001, most_seconds=0.001)


def clicks(*ids: str) -> list[Click]:
    return [Click("teapot", user="ada", event_id=each) for each in ids]


def queue(shop, *events) -> list[bool]:
    return [shop.do("enqueue", event) for event in events]


def test_events_are_sent_together_and_in_order(connect, server) -> None:
    shop = connect(batch_seconds=60.0)
    queue(shop, *clicks("1", "2"), Purchase("cups", user="ada", event_id="3"), *clicks("4"))
    assert shop.do("flush")
    assert server.events == [["1", "2", "4"], ["3"]]
    assert shop.client.dropped == 0


def test_a_full_batch_is_sent_at_once(connect, server) -> None:
    shop = connect(batch_seconds=3600.0, batch_events=2)
    arrived = threading.Event()
    server.script = [lambda request: arrived.set() or accepted(request)]
    queue(shop, *clicks("1", "2"))
    if shop._loop is not None:
        shop.do("flush")
    assert arrived.wait(30)
    assert server.events == [["1", "2"]]


def test_an_event_without_a_time_gets_that_of_the_queue(connect, server) -> None:
    shop = connect()
    queue(shop, Click("teapot", user="ada"), Click("teapot", user="ada", timestamp="2027-01-01T00:00:00Z"))
    shop.do("flush")
    assert [each["timestamp"] for each in server.received[0].body] == [1_800_000_000.0, "2027-01-01T00:00:00Z"]


def test_a_full_queue_drops_what_comes_and_counts_it(connect, server) -> None:
    shop = connect(queue_events=2, batch_seconds=3600.0)
    assert queue(shop, *clicks("1", "2", "3", "4")) == [True, True, False, False]
    assert shop.client.drops == {"queue full": 2}
    assert shop.do("flush")
    assert server.events == [["1", "2"]]


def test_a_server_that_is_away_costs_no_event(connect, server) -> None:
    server.script = [None, problem(503, retry_after="0"), problem(429, retry_after="0"), None]
    shop = connect(retries=QUICK)
    queue(shop, *clicks("1", "2"))
    assert shop.do("flush", 30.0)
    assert server.events == [["1", "2"]] * 5
    assert shop.client.dropped == 0


def test_a_wrong_event_takes_no_other_with_it(connect, server) -> None:
    server.script = [problem(422, "element 1: item: empty", index=1), problem(403, "element 0: user", index=0)]
    shop = connect()
    queue(shop, *clicks("1", "2", "3"))
    assert shop.do("flush")
    assert server.events == [["1", "2", "3"], ["1", "3"], ["3"]]
    assert shop.client.drops == {"refused": 2}


def test_a_body_that_is_too_large_is_sent_in_halves(connect, server) -> None:
    def at_most_two(request):
        return problem(413, "too large") if len(request.body) > 2 else accepted(request)

    server.script = [at_most_two] * 7
    shop = connect()
    queue(shop, *clicks(*"12345"))
    assert shop.do("flush")
    assert server.events == [["1", "2", "3", "4", "5"], ["1", "2"], ["3", "4", "5"], ["3"], ["4", "5"]]
    assert shop.client.dropped == 0


def test_a_batch_that_is_refused_as_a_whole_is_dropped_and_counted(connect, server) -> None:
    server.script = [problem(401, "This key was revoked.")]
    shop = connect()
    queue(shop, *clicks("1", "2"))
    shop.do("flush")
    queue(shop, *clicks("3"))
    assert shop.do("flush")
    assert server.events == [["1", "2"], ["3"]]
    assert shop.client.drops == {"refused": 2}


def test_close_sends_what_waits(connect, server) -> None:
    shop = connect(batch_seconds=3600.0)
    queue(shop, *clicks("1"), Feedback("cups", user="ada", kind="like", event_id="2"))
    shop.do("close")
    assert server.events == [["1"], ["2"]]
    assert queue(shop, *clicks("3")) == [False]
    assert shop.client.drops == {"closed": 1}


def test_close_waits_no_longer_than_it_may_and_counts_what_is_left(connect, server) -> None:
    server.script = [problem(503, retry_after="3600")]
    shop = connect(batch_events=1)
    queue(shop, *clicks("1", "2", "3"))
    assert not shop.do("flush", 0.2)
    shop.do("close", 0.0)
    assert shop.client.drops == {"closed": 3}


def test_an_event_of_values_that_are_no_json_takes_no_other_with_it(connect, server) -> None:
    shop = connect(batch_events=1, batch_seconds=0.0)
    queue(shop, Click("teapot", user="ada", context={"a": object()}), *clicks("2"))
    assert shop.do("flush")
    assert server.events == [["2"]]
    assert shop.client.drops == {"refused": 1}


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_a_queue_without_room_is_refused(connect, sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="both are at least 1"):
        connect(queue_events=sizes[0], batch_events=sizes[1])


def test_many_threads_may_queue(server: ScriptedServer) -> None:
    with Client(server.address, batch_events=50) as shop:
        threads = [
            threading.Thread(
                target=lambda n=n: [shop.enqueue(each) for each in clicks(*(f"{n}-{k}" for k in range(40)))]
            )
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert shop.flush()
    sent = [each for ids in server.events for each in ids]
    assert len(sent) == len(set(sent)) == 320
    assert all(len(ids) <= 50 for ids in server.events)


def test_a_forked_process_sends_its_own_events_and_not_those_of_its_parent(server: ScriptedServer) -> None:
    shop = Client(server.address, batch_seconds=3600.0)
    shop.enqueue(clicks("parent")[0])
    child = os.fork()
    if child == 0:
        shop.enqueue(clicks("child")[0])
        os._exit(0 if shop.flush() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert server.events == [["child"]]
    shop.close()
    assert server.events == [["child"], ["parent"]]
