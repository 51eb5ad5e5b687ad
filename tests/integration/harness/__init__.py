"""Kafka, workers and servers as tests start, load, kill and check them."""
