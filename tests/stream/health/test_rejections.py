"""Rejections in logs and metrics: few classes, each logged once a minute."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter
from structlog import get_logger
from structlog.testing import capture_logs

from stream.health.rejections import RejectionLog, class_of
from stream.ingest.decoding import Decoder
from stream.ingest.records import Record, Rejection
from stream.models.settings import ModelSettings

RECORD = Record("clicks", 7, 0, b"{")


def test_every_reason_has_one_of_few_classes() -> None:
    assert class_of(Rejection(RECORD, "item: an id is 1 to 256 bytes")) == "item"
    assert class_of(Rejection(RECORD, "timestamp: 3 is 900 seconds ahead", refused=True)) == "ahead"
    assert class_of(Rejection(RECORD, "failed: ZeroDivisionError", isolated=True)) == "failed"
    assert class_of(Rejection(RECORD, "anything that a producer may have put here: x")) == "other"


def test_a_flood_of_bad_records_is_one_line_a_minute_for_each_class_with_their_number() -> None:
    registry = CollectorRegistry()
    counter = Counter("rejections", "Rejections.", ["topic", "reason"], registry=registry)
    bad = [Rejection(RECORD._replace(offset=number), "value: no JSON") for number in range(100)]
    ahead = [Rejection(RECORD, "timestamp: ahead", refused=True)]
    with capture_logs() as lines:
        log = RejectionLog(counter, get_logger())
        for second in range(0, 90, 10):
            log.note(bad, float(second))
        log.note([*ahead, *bad], 90.0)
        log.note([], 91.0)
    assert [(line["reason"], line["records"]) for line in lines] == [("value", 100), ("value", 600), ("ahead", 1)]
    assert lines[0]["example_offset"] == 0
    assert lines[0]["example"] == "value: no JSON"
    assert registry.get_sample_value("rejections_total", {"topic": "clicks", "reason": "value"}) == 1000


@pytest.mark.parametrize(
    ("event", "reason", "level"),
    [
        (b'{"item": "tea", "user": "ada", "consent": "none"}', "consent", "info"),
        (b'{"item": "tea", "user": "ada", "bot": true}', "bot", "info"),
        (b'{"item": "tea", "user": "NULL"}', "null_id", "warning"),
        (b'{"item": "tea", "user": "ada", "consent": "agregate"}', "consent", "warning"),
        (b'{"item": "tea", "user": "ada", "bot": "maybe"}', "bot", "warning"),
    ],
)
def test_events_that_a_producer_asks_to_leave_out_are_no_warning(event: bytes, reason: str, level: str) -> None:
    registry = CollectorRegistry()
    counter = Counter("rejections", "Rejections.", ["topic", "reason"], registry=registry)
    _, _, rejections = Decoder(ModelSettings()).decode([RECORD._replace(timestamp_ms=1_700_000_000_000, value=event)])
    with capture_logs() as lines:
        RejectionLog(counter, get_logger()).note(rejections, now=1.0)
    assert [(line["log_level"], line["reason"], line["records"]) for line in lines] == [(level, reason, 1)]
    assert "ada" not in str(lines[0])
    assert registry.get_sample_value("rejections_total", {"topic": "clicks", "reason": reason}) == 1.0
