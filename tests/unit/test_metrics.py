"""Figures for Prometheus: what a delivery service did is among them."""

from dataclasses import fields

from dms3.chain.operations_validation import OpFigures, RepairFigures
from dms3.gossip.grounds import Counts
from dms3.node.delivering import Figures
from dms3.node.metrics import Metrics


def test_a_delivery_service_has_figures() -> None:
    metrics = Metrics()
    figures = Figures(accepted=3, duplicates=1, fetched=5, acknowledged=2)
    figures.refused["forbidden"] = 4
    metrics._delivery(figures)
    lines = metrics.text(None).decode().splitlines()
    for done, count in (("accepted", 3), ("duplicate", 1), ("fetched", 5), ("acknowledged", 2)):
        assert f'dms3_delivery_envelopes_total{{done="{done}"}} {count}.0' in lines
    assert 'dms3_delivery_refused_total{code="forbidden"} 4.0' in lines


def test_what_apps_hold_and_what_keeps_it_where_it_belongs_has_figures() -> None:
    metrics = Metrics()
    repair = RepairFigures(rounds=5, failed=2, brought=7, dropped=3, short=4)
    metrics.chains(OpFigures((("integrated", 9), ("pending", 1)), 1_000, repair))
    metrics.chains(OpFigures((("integrated", 10),), 1_000, repair))
    lines = metrics.text(None).decode().splitlines()
    for name, count in (
        ('dms3_chain_ops{state="integrated"}', 10),
        ('dms3_chain_ops{state="pending"}', 0),
        ("dms3_chain_ops_short", 4),
        ('dms3_chain_ops_total{done="brought"}', 7),
        ('dms3_chain_ops_total{done="dropped"}', 3),
        ('dms3_chain_rounds_total{end="whole"}', 3),
        ('dms3_chain_rounds_total{end="failed"}', 2),
    ):
        assert f"{name} {count}.0" in lines


def test_everything_that_gossip_counts_has_a_figure() -> None:
    """And what was dropped is named by its reason."""
    metrics = Metrics()
    names = [each.name for each in fields(Counts) if each.name != "why"]
    counts = Counts(**{name: at + 1 for at, name in enumerate(names)})
    counts.dropped("outbox_full", 9)
    metrics._spreading(counts)
    lines = metrics.text(None).decode().splitlines()
    for at, name in enumerate(names):
        assert f'dms3_gossip_bodies_total{{done="{name}"}} {at + 1}.0' in lines
    assert 'dms3_gossip_dropped_total{why="outbox_full"} 9.0' in lines
