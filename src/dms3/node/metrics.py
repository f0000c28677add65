"""The node's figures for Prometheus: one registry per node, gathered when they are asked for.

Source: docs/interfaces.md, `/metrics`. Names are `dms3_SUBSYSTEM_THING_UNIT`; no peer id, name or
CID is ever a label.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from dms3.chain.operations_validation import OpFigures
from dms3.core.limits import SECOND_US
from dms3.core.overlay import OverlayFigures
from dms3.gossip.grounds import Counts
from dms3.node.delivering import Figures
from dms3.node.metrics_chain import ChainGauges
from dms3.node.metrics_hop import HopGauges
from dms3.node.node import Node
from dms3.node.overlay_held import HeldGauges

LAG_BUCKETS_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)


class Metrics:
    """The registry of one node."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._ready = Gauge("dms3_node_ready", "1 when the node is open.", registry=self._registry)
        self._lag = Histogram(
            "dms3_loop_lag_seconds",
            "By how much the event loop was late.",
            buckets=LAG_BUCKETS_SECONDS,
            registry=self._registry,
        )
        self._peers = Gauge("dms3_peers_connected", "Connected nodes.", registry=self._registry)
        self._commits = Gauge(
            "dms3_store_commits_total", "Durable transactions.", registry=self._registry
        )
        self._handshakes = Gauge(
            "dms3_handshakes_failed_total",
            "Inbound handshakes that failed, by reason.",
            ["code"],
            registry=self._registry,
        )
        self._hop = HopGauges(self._registry)
        self._packs = Gauge(
            "dms3_packs_bytes", "Bytes of pack files.", ["state"], registry=self._registry
        )
        self._removed = Gauge(
            "dms3_packs_removed_bytes_total", "Bytes of removed blocks.", registry=self._registry
        )
        self._backup = Gauge(
            "dms3_backup_age_seconds",
            "Time since the last backup; NaN without one.",
            registry=self._registry,
        )
        self._mail = Gauge(
            "dms3_delivery_envelopes_total",
            "What this delivery service did with envelopes.",
            ["done"],
            registry=self._registry,
        )
        self._refused = Gauge(
            "dms3_delivery_refused_total",
            "Envelopes that this delivery service refused, by reason.",
            ["code"],
            registry=self._registry,
        )
        self._gossip = Gauge(
            "dms3_gossip_bodies_total",
            "What this node did with bodies that are spread.",
            ["done"],
            registry=self._registry,
        )
        self._dropped = Gauge(
            "dms3_gossip_dropped_total",
            "Bodies and ids that gossip dropped, by reason.",
            ["why"],
            registry=self._registry,
        )
        self._chains = ChainGauges(self._registry)
        self._held = HeldGauges(self._registry)
        self._bugs = Counter("dms3_node_failures", "Parts that failed.", registry=self._registry)

    def lag(self, lag_us: int) -> None:
        """The event loop was late by `lag_us`."""
        self._lag.observe(lag_us / SECOND_US)

    def failed(self) -> None:
        """A part failed."""
        self._bugs.inc()

    def chains(self, figures: OpFigures) -> None:
        """What is held of all apps, and what keeps it where it belongs."""
        self._chains.show(figures)

    def overlays(self, figures: Sequence[OverlayFigures]) -> None:
        """What is held for others in every overlay."""
        self._held.show(figures)

    def text(self, node: Node | None) -> bytes:
        """The registry in Prometheus text format."""
        self._ready.set(0 if node is None else 1)
        if node is not None:
            self._peers.set(len(node.network.figures()))
            self._commits.set(node.store.commits)
            self._upkeep(node)
            self._spreading(node.gossip)
            for code, count in node.network.failed_handshakes().items():
                self._handshakes.labels(code).set(count)
            self._hop.show(node.network.hop_figures())
            if node.delivery is not None:
                self._delivery(node.delivery.figures)
        return generate_latest(self._registry)

    def _spreading(self, counts: Counts) -> None:
        for done in ("spread", "delivered", "refused", "received", "duplicates", "asked", "told"):
            self._gossip.labels(done).set(getattr(counts, done))
        for why, count in counts.why.items():
            self._dropped.labels(why).set(count)

    def _delivery(self, figures: Figures) -> None:
        self._mail.labels("accepted").set(figures.accepted)
        self._mail.labels("duplicate").set(figures.duplicates)
        self._mail.labels("fetched").set(figures.fetched)
        self._mail.labels("acknowledged").set(figures.acknowledged)
        for code, count in figures.refused.items():
            self._refused.labels(code).set(count)

    def _upkeep(self, node: Node) -> None:
        figures = node.upkeep.figures
        self._packs.labels("dead").set(figures.dead_bytes)
        self._packs.labels("live").set(figures.pack_bytes - figures.dead_bytes)
        self._removed.set(node.upkeep.removed.bytes)
        last = node.backing.last
        age_us = math.nan if last is None else node.clock.now().wall_us - last.made_us
        self._backup.set(age_us / SECOND_US)
