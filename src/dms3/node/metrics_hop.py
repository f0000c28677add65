"""The figures of a node that passes circuits on between others, for Prometheus.

Source: docs/operations.md, "Watching"; part of node/metrics.py. No peer is ever a label.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from dms3.node.session import HopStanding


class HopGauges:
    """The gauges, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._now = Gauge(
            "dms3_circuits",
            "Circuits that pass here, and places of others here, now.",
            ["state"],
            registry=registry,
        )
        self._bytes = Gauge(
            "dms3_circuits_bytes_total", "Bytes passed on for others.", registry=registry
        )
        self._ended = Gauge(
            "dms3_circuits_ended_total",
            "Circuits through this node that ended, by reason.",
            ["why"],
            registry=registry,
        )
        self._refused = Gauge(
            "dms3_circuits_refused_total",
            "Questions for places and circuits that were refused, by status.",
            ["status"],
            registry=registry,
        )

    def show(self, standing: HopStanding) -> None:
        """How it stands now."""
        self._now.labels("open").set(standing.circuits)
        self._now.labels("place").set(standing.places)
        self._bytes.set(standing.since_start.bytes)
        for why, count in standing.since_start.ended.items():
            self._ended.labels(why).set(count)
        for status, count in standing.since_start.refused.items():
            self._refused.labels(status).set(count)
