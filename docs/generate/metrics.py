"""Tables of metrics, from the registries of the worker and of the server.

This file decides which columns the tables of metrics have.
"""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry

from docs.generate.markdown import code, table
from serving.metrics import Metrics
from stream.runner.metrics import WorkerMetrics


def section(registry: CollectorRegistry) -> str:
    rows = []
    # The public `collect` leaves out labels of metrics that have no series yet.
    collectors: list[Any] = list(registry._collector_to_names)  # noqa: SLF001
    for collector in collectors:
        family = collector.describe()[0]
        suffix = "_total" if family.type == "counter" else ""
        labels = ", ".join(code(label) for label in collector._labelnames)  # noqa: SLF001
        rows.append([code(family.name + suffix), family.type, labels, family.documentation])
    return table(["metric", "kind", "labels", "what it is"], rows)


SECTIONS = {
    "metrics-worker": lambda: section(WorkerMetrics().registry),
    "metrics-server": lambda: section(Metrics().registry),
}
