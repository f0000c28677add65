"""What a node holds of each content type for others, as commands and Prometheus show it.

Source: docs/operations.md, "Watching"; docs/chains.md, "Repaired". No key and no name is a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from dms3.core.overlay import PUBLIC, OverlayFigures
from dms3.node.networks_book import Book
from dms3.node.node import Node


def holds(figures: OverlayFigures) -> list[dict[str, Any]]:
    """Every content type of an overlay: how much is held, and quota and radius of those with one.

    `radius`: the share of the space that is kept, 1.0 while everything fits.
    """
    radii = {each.type: each for each in figures.radii}
    rows = []
    for name, values, size in figures.held:
        own = radii.get(name)
        rows.append(
            {
                "type": name,
                "values": values,
                "bytes": size,
                "quota_bytes": None if own is None else own.quota_bytes,
                "radius": None if own is None else own.share,
            }
        )
    return rows


async def overlay_rows(node: Node, book: Book) -> list[dict[str, Any]]:
    """Every overlay: what it is, how many other nodes are known in it, what is held for it.

    First what is public, then networks, then apps, by name.
    """
    figures: tuple[OverlayFigures, ...] = await node.call("dht.figures")
    apps = {} if node.dapps is None else {each.overlay: each.name for each in node.dapps.apps()}
    rows = []
    for one in figures:
        joined = book.get(one.overlay)
        if one.overlay == PUBLIC:
            kind, name = "public", ""
        elif joined is not None:
            kind, name = "network", joined.name
        else:
            kind, name = "app", apps.get(one.overlay, "")
        rows.append(
            {
                "id": one.overlay.hex(),
                "kind": kind,
                "name": name,
                "member": one.member,
                "nodes": len(one.nodes),
                "values": sum(values for _, values, _ in one.held),
                "bytes": sum(size for _, _, size in one.held),
                "holds": holds(one),
            }
        )
    return sorted(rows, key=lambda row: (_KINDS.index(row["kind"]), row["name"], row["id"]))


_KINDS = ("public", "network", "app")


class HeldGauges:
    """The gauges, in `registry`: sums over all overlays, and the smallest radius."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._values = Gauge(
            "dms3_overlay_values", "Values held for others.", ["type"], registry=registry
        )
        self._bytes = Gauge(
            "dms3_overlay_bytes", "Bytes of values held for others.", ["type"], registry=registry
        )
        self._radius = Gauge(
            "dms3_overlay_radius",
            "Share of the space of which this node keeps values, the smallest of its overlays.",
            ["type"],
            registry=registry,
        )

    def show(self, overlays: Sequence[OverlayFigures]) -> None:
        """What they hold now."""
        values: dict[str, int] = {}
        sizes: dict[str, int] = {}
        radii: dict[str, float] = {}
        for row in (row for each in overlays for row in holds(each)):
            name = row["type"]
            values[name] = values.get(name, 0) + row["values"]
            sizes[name] = sizes.get(name, 0) + row["bytes"]
            if row["radius"] is not None:
                radii[name] = min(radii.get(name, 1.0), row["radius"])
        for gauge, shown in ((self._values, values), (self._bytes, sizes), (self._radius, radii)):
            for name, value in shown.items():
                gauge.labels(name).set(value)
