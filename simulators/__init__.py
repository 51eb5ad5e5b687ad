"""Shoppers with planted tastes, datasets sent again, and the whole system on one machine.

Talks to the running system as anybody would, over HTTP and Kafka. Nothing here is needed to run Corrente.
"""
