"""Workers on a real Kafka and Redis: each event counts once through kills, storms, standbys and other shards."""
