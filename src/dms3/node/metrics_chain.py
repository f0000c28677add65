"""The figures of apps for Prometheus: ops that are held, and what keeps them where they belong.

Source: docs/operations.md, "Watching"; docs/chains.md, "Repaired".
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge

from dms3.chain.operations_validation import OpFigures

_STATES = ("pending", "integrated", "rejected", "abandoned")
_DONE = ("brought", "offered", "dropped", "refused", "barred", "far", "absent")


class ChainGauges:
    """The gauges, in `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._held = Gauge("dms3_chain_ops", "Ops of apps held here.", ["state"], registry=registry)
        self._short = Gauge(
            "dms3_chain_ops_short",
            "Ops that a node which is to hold them may not have yet.",
            registry=registry,
        )
        self._done = Gauge(
            "dms3_chain_ops_total",
            "What comparing with neighbours did with ops since apps were opened.",
            ["done"],
            registry=registry,
        )
        self._rounds = Gauge(
            "dms3_chain_rounds_total",
            "Comparisons with neighbours, by how they ended.",
            ["end"],
            registry=registry,
        )

    def show(self, figures: OpFigures) -> None:
        """The figures of all apps together."""
        counts, repair = dict(figures.states), figures.repair
        for state in _STATES:
            self._held.labels(state).set(counts.get(state, 0))
        self._short.set(repair.short)
        for done in _DONE:
            self._done.labels(done).set(getattr(repair, done))
        self._rounds.labels("whole").set(repair.rounds - repair.failed)
        self._rounds.labels("failed").set(repair.failed)
