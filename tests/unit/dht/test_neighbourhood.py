import random

from dms3.core.ids import OverlayId
from dms3.core.limits import NEIGHBOURHOOD_LIFE_US, NEIGHBOURHOODS_MAX
from dms3.core.overlay import HOLDERS_MIN, PUBLIC, NodeAt, location
from dms3.dht.neighbourhood import Neighbourhoods, nearest_first
from dms3.libp2p.peer_id import NodeKey

DRAW = random.Random(3)
NODES = [NodeAt(NodeKey(DRAW.randbytes(32)).peer_id, ()) for _ in range(400)]
K = 20
LAST = (1 << 256) - 1


def nearest(target: int) -> list[NodeAt]:
    return [node for _, node in nearest_first(NODES, target)]


def add(around: Neighbourhoods, centre: int, now_us: int = 0) -> None:
    """The K nearest of all, as a lookup finds them."""
    near = nearest_first(NODES, centre)[:K]
    around.add(PUBLIC, centre, [node for _, node in near], near[-1][0] ^ centre, now_us, 400)


def test_what_a_neighbourhood_answers_for_is_answered_as_if_all_nodes_were_known():
    covered = 0
    for n in range(60):
        centre = int.from_bytes(location(b"centre %d" % n))
        around = Neighbourhoods()
        add(around, centre)
        for bits in (232, 240, 244, 246, 250):
            target = centre ^ DRAW.getrandbits(bits)
            found = around.covering(PUBLIC, target, 0, 500)
            if found is None:
                continue
            covered += 1
            truth = nearest_first(NODES, target)[:HOLDERS_MIN]
            assert found.nearest(target)[:HOLDERS_MIN] == truth
    print(f"{covered} of 300 targets were covered")
    assert covered > 100


def test_the_neighbourhood_of_a_whole_overlay_answers_for_everything():
    around = Neighbourhoods()
    around.add(PUBLIC, 0, NODES[:5], None, 0, 5)
    found = around.covering(PUBLIC, LAST, 0, 5)
    assert found is not None
    distances = [at ^ LAST for at, _ in found.nearest(LAST)]
    assert distances == sorted(distances)
    assert around.covering(OverlayId(bytes(32)), 0, 0, 5) is None
    assert around.covering(PUBLIC, LAST, 0, 4) is not None, "one has left"
    assert around.covering(PUBLIC, LAST, 0, 6) is None, "one has come"


def test_neighbourhoods_age_and_are_bounded():
    around = Neighbourhoods()
    around.add(PUBLIC, 0, NODES[:5], None, 7, 5)
    assert around.covering(PUBLIC, 0, 6 + NEIGHBOURHOOD_LIFE_US, 5) is not None
    assert around.covering(PUBLIC, 0, 7 + NEIGHBOURHOOD_LIFE_US, 5) is None
    far = int.from_bytes(location(b"far"))
    for _ in range(NEIGHBOURHOODS_MAX):
        add(around, far, 8)
    assert around.covering(PUBLIC, 0, 8, 5) is None  # pushed out


def test_nobody_around_is_known_to_cover_nothing():
    around = Neighbourhoods()
    around.add(PUBLIC, 0, [], 0, 0, 0)
    assert around.covering(PUBLIC, 0, 0, 0) is None
