"""Clients that start while no broker answers: tried again for a while, and given up with a reason."""

from __future__ import annotations

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError

from stream.kafka.connection.bootstrap import patiently
from stream.kafka.refusals import CannotLearn


class Client:
    """A client that raises these errors, one at each start, and then starts."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.starts = 0

    async def start(self) -> None:
        self.starts += 1
        if self.errors:
            raise self.errors.pop(0)


def gave_up(error: KafkaConnectionError) -> Exception:
    return CannotLearn(f"gave up after {error.args[0]}")


async def test_a_start_is_tried_again_until_a_broker_answers() -> None:
    client = Client(KafkaConnectionError("first"), KafkaConnectionError("second"))
    await patiently(client.start, gave_up, pause_seconds=0.0)()
    assert client.starts == 3


async def test_the_last_error_is_given_up_with() -> None:
    client = Client(KafkaConnectionError("first"))
    with pytest.raises(CannotLearn, match="gave up after first"):
        await patiently(client.start, gave_up, patience_seconds=0.0)()
    assert client.starts == 1


async def test_what_waiting_does_not_mend_is_raised_at_once() -> None:
    client = Client(TopicAuthorizationFailedError("clicks"))
    with pytest.raises(TopicAuthorizationFailedError):
        await patiently(client.start, gave_up)()
    assert client.starts == 1
