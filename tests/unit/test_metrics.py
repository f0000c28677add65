"""Figures for Prometheus: what a delivery service did is among them."""

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
