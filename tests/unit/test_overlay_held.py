"""What is held for others, as commands, people and Prometheus are shown it."""

from prometheus_client import CollectorRegistry

from dms3.cli.lines import shown
from dms3.cli.views_network import NETWORK_VIEWS
from dms3.core.ids import OverlayId
from dms3.core.overlay import PUBLIC, OverlayFigures, RadiusFigures
from dms3.node.overlay_held import HeldGauges, holds

GIB = 1 << 30


def figures(overlay: OverlayId = PUBLIC, share: float = 0.25, blocks: int = 3) -> OverlayFigures:
    held = (("block", blocks, blocks * 1_000), ("provider", 2, 80))
    radii = (RadiusFigures("block", GIB, share),)
    return OverlayFigures(overlay, True, (), 0, held, radii)


def test_each_type_has_its_quota_and_radius_if_there_is_one():
    block, provider = holds(figures())
    assert block == {
        "type": "block",
        "values": 3,
        "bytes": 3_000,
        "quota_bytes": GIB,
        "radius": 0.25,
    }
    assert (provider["quota_bytes"], provider["radius"]) == (None, None)


def test_gauges_sum_over_overlays_and_show_the_smallest_radius():
    registry = CollectorRegistry()
    gauges = HeldGauges(registry)
    gauges.show([figures(), figures(OverlayId(bytes(32)), 0.5, 4)])

    def value(name: str, kind: str) -> float | None:
        return registry.get_sample_value(f"dms3_overlay_{name}", {"type": kind})

    assert (value("values", "block"), value("bytes", "block")) == (7, 7_000)
    assert value("radius", "block") == 0.25
    assert (value("values", "provider"), value("radius", "provider")) == (4, None)


def test_people_are_told_how_near_what_is_kept_lies():
    overlay = {"kind": "public", "name": "", "nodes": 9, "bytes": 3_080}
    overlay["holds"] = holds(figures())
    found = shown(NETWORK_VIEWS["network list"], {"networks": [], "overlays": [overlay]})
    assert found is not None
    text = "\n".join("".join(part for part, _ in line) for line in found)
    assert "block: 3, 3 kB of 1.07 GB, the nearest 25.00% of the space" in text
    whole = overlay | {"holds": holds(figures(share=1.0))}
    found = shown(NETWORK_VIEWS["network list"], {"networks": [], "overlays": [whole]})
    assert "of the space" not in str(found)
