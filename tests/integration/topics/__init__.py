"""Topics on a real Kafka: odd records, other formats, documents, and topics that were created again."""
