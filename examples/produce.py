"""Send one click to Kafka: python examples/produce.py USER ITEM.

This file decides the record's key: the visitor, so that all events of one visitor are in one partition, in order.
"""

import asyncio
import json
import os
import sys
import time

from aiokafka import AIOKafkaProducer


async def send(user: str, item: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=os.environ.get("CORRENTE_KAFKA", "localhost:9092")) as producer:
        click = {"user": user, "item": item, "timestamp": time.time()}
        record = await producer.send_and_wait("clicks", json.dumps(click).encode(), key=user.encode())
    print(f"partition {record.partition}, offset {record.offset}")


asyncio.run(send(sys.argv[1], sys.argv[2]))
