"""Canaries for Faust's and aiokafka's internals: each part without a public way to it is where the transport looks."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import faust
import pytest
from aiokafka import AIOKafkaConsumer, client, conn
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher, group_coordinator, subscription_state
from aiokafka.protocol import fetch
from faust.assignor import PartitionAssignor
from faust.tables.manager import TableManager
from faust.transport import consumer as base
from faust.transport.drivers import aiokafka as driver

ASSIGNED = [
    (AIOKafkaConsumer, "_fetcher", "the fetcher, whose waiting records are drained"),
    (AIOKafkaConsumer, "_closed", "says that a consumer was closed"),
    (AIOKafkaConsumer, "_isolation_level", "leaves out records of transactions that are open or aborted"),
    (AIOKafkaConsumer, "_coordinator", "knows committed texts, and why the group can't be joined"),
    (AIOKafkaConsumer, "_client", "learns of partitions without subscribing to them"),
    (AIOKafkaConsumer, "_fetch_max_wait_ms", "longest wait of the broker; Faust has no setting for it"),
    (fetcher.Fetcher, "_closed", "says that a fetcher was closed"),
    (fetcher.Fetcher, "_subscriptions", "knows the assignment and its positions"),
    (fetcher.Fetcher, "_records", "results that wait, by topic-partition"),
    (fetcher.FetchResult, "_partition_records", "packed records of a result"),
    (fetch.FetchRequest, "_max_wait_ms", "is taken over by a request by ids"),
    (fetch.FetchRequest, "_min_bytes", "is taken over by a request by ids"),
    (fetch.FetchRequest, "_max_bytes", "is taken over by a request by ids"),
    (fetch.FetchRequest, "_isolation_level", "is taken over by a request by ids"),
    (fetch.FetchRequest, "_rack_id", "is taken over by a request by ids"),
    (subscription_state.Assignment, "_tp_state", "positions by topic-partition"),
    (driver.AIOKafkaConsumerThread, "_consumer", "is None before a consumer is started"),
    (conn.AIOKafkaConnection, "_requests", "requests that wait for their answers"),
    (conn.AIOKafkaConnection, "_request_timeout", "longest wait of a request, after which a replaced connection ends"),
    (PartitionAssignor, "_topic_groups", "carries numbers of members and leaders in Faust's messages"),
    (base.Consumer, "_read_offset", "is replaced, so that seeking back loses no record"),
]
"""Attributes that are assigned when an object is made or started: owner, name, and what they are needed for."""

DEFINED = [
    (fetcher, "FetchError", "is a result that raises when it is drained"),
    (fetcher.Fetcher, "_create_fetch_waiter", "wakes the transport when records arrive"),
    (fetcher.Fetcher, "_proc_fetch_request", "sends a fetch; a request that names topics by their ids takes its place"),
    (fetcher.Fetcher, "fetched_records", "hands out whole fetches"),
    (group_coordinator.GroupCoordinator, "fetch_committed_offsets", "gives offsets with the committed text"),
    (group_coordinator.GroupCoordinator, "check_errors", "hands out an error of joining, and tries again then"),
    (fetcher.PartitionRecords, "_consumer_record", "makes a record; replaced by one that hands out a whole batch"),
    (subscription_state.SubscriptionState, "fetch_context", "says that this consumer is alive"),
    (subscription_state.SubscriptionState, "subscription", "leads to the assignment"),
    (subscription_state.Assignment, "active", "is false once partitions were revoked"),
    (subscription_state.Assignment, "state_value", "leads to position and high watermark"),
    (subscription_state.TopicPartitionState, "has_valid_position", "says that a seek has taken effect"),
    (subscription_state.TopicPartitionState, "position", "is where the next fetch starts"),
    (driver.AIOKafkaConsumerThread, "_create_worker_consumer", "makes the aiokafka consumer"),
    (driver.AIOKafkaConsumerThread, "_ensure_consumer", "gives it, in its thread"),
    (driver.AIOKafkaConsumerThread, "call_thread", "runs a coroutine in the consumer's thread"),
    (driver, "ensure_aiokafka_TP", "turns Faust's topic-partitions into aiokafka's"),
    (driver, "ConsumerStoppedError", "ends the fetch loop without an error"),
    (base.Consumer, "perform_seek", "is called after each rebalance"),
    (base.Consumer, "getmany", "is what the fetch loop reads"),
    (base.Consumer, "force_commit", "is called by the commit loop"),
    (base.Consumer, "verify_event_path", "would miss acknowledgements, and is silenced"),
    (driver.Consumer, "_new_consumer_thread", "makes our thread instead of Faust's"),
    (driver.Producer, "_new_producer", "makes the aiokafka producer, which waits for a broker"),
    (PartitionAssignor, "_perform_assignment", "shares the partitions out, and is replaced"),
    (PartitionAssignor, "_get_client_metadata", "reads the message of a member"),
    (PartitionAssignor, "_update_member_urls", "has to be called before messages to members are made"),
    (PartitionAssignor, "_protocol_assignments", "makes the messages to members"),
    (faust.App, "on_partitions_assigned", "says that nothing was assigned, which makes no seek"),
    (faust.App, "_new_transport", "makes our transport instead of Faust's"),
    (faust.App, "_create_directories", "would write to disk"),
    (AIOKafkaAdminClient, "_send_request", "sends the question about the rights of this account"),
    (client, "create_conn", "opens every connection, and is replaced by ours"),
    (conn.AIOKafkaConnection, "connected", "decides whether a client takes another connection"),
    (conn.AIOKafkaConnection, "_handle_frame", "is called when a request is answered"),
    (TableManager, "_update_channels", "is all that a start without tables needs"),
]
"""Functions, methods and properties."""


def where_to_look(owner: object, name: str, purpose: str) -> str:
    of = getattr(owner, "__module__", getattr(owner, "__name__", ""))
    packages = f"Faust {version('faust-streaming')} with aiokafka {version('aiokafka')}"
    ours = "stream/kafka, stream/doctor, stream/tail and stream/worker.py"
    return f"{packages}: {of} has no {name}, which {purpose}; look at {ours}"


@pytest.mark.parametrize(("owner", "name", "purpose"), DEFINED, ids=[name for _, name, _ in DEFINED])
def test_a_private_function_is_where_it_was(owner, name, purpose):
    assert hasattr(owner, name), where_to_look(owner, name, purpose)


@pytest.mark.parametrize(("owner", "name", "purpose"), ASSIGNED, ids=[name for _, name, _ in ASSIGNED])
def test_a_private_attribute_is_still_assigned(owner, name, purpose):
    lines = [inspect.getsource(each) for each in inspect.getmro(owner) if each is not object]
    found = any(f"self.{name} =" in text or f"self.{name}:" in text or f"\n    {name}:" in text for text in lines)
    assert found or hasattr(owner, name), where_to_look(owner, name, purpose)
