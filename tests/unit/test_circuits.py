"""Machine "circuits": when a node asks for places, keeps and leaves them, and is a hop itself."""

from typing import Any

import pytest

from dms3.core.errors import Failure
from dms3.core.ids import RequestId
from dms3.core.limits import (
    HOP_RETRY_US,
    HOPS_MAX,
    REACHED_WAIT_US,
    RESERVATION_US,
    RESERVATION_US_MAX,
    RESERVATION_US_MIN,
    STRAIGHTEN_US_MAX,
    STRAIGHTEN_US_MIN,
)
from dms3.core.machine import Answered, Call, Called, Now, PeerDown, PeerUp, Reply
from dms3.libp2p.circuit import HOP_PROTOCOL
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p.circuits import CircuitBook, Standing
from dms3.p2p.port import DialRequest, Reserved, Spoken
from dms3.p2p.reach import Reach, others_word, own_word, reach_of_text
from unit.libp2p.wire_kit import key

HOME = ("/ip4/192.168.1.2/tcp/7701", "/ip4/127.0.0.1/tcp/7701")
SEEN = "/ip4/45.0.0.1/tcp/60001"  # what others see of the router


def peer(number: int):
    return key(number).peer_id


def place(number: int) -> str:
    return f"/ip4/45.0.1.{number}/tcp/7701"


def through(number: int) -> str:
    return f"{place(number)}/p2p/{peer_id_text(peer(number))}/p2p-circuit"


class Bench:
    """A machine driven by hand; `calls` are those of the transport since the last look."""

    def __init__(self, *, offers: bool = True, own: tuple[str, ...] | None = HOME) -> None:
        self.machine = CircuitBook(offers=offers)
        self.now_us = 0
        self.open: list[Call] = []
        self.calls: list[tuple[str, object]] = []
        self.replies: list[object] = []
        if own is not None:
            self.tell("listening", own)

    def event(self, event) -> None:
        self._take(self.machine.on_event(event, Now(self.now_us, self.now_us)))

    def _take(self, effects) -> None:
        for effect in effects:
            if isinstance(effect, Call):
                self.calls.append((effect.port.removeprefix("transport."), effect.arguments))
                self.open.append(effect)
            else:
                assert isinstance(effect, Reply)
                self.replies.append(effect.body)

    def tell(self, operation: str, arguments) -> object:
        self.event(Called(operation, arguments, RequestId(len(self.replies) + 1)))
        return self.replies[-1]

    def up(self, number: int, *, inbound: bool = False, address: str = "") -> None:
        self.event(PeerUp(peer(number), address or place(number), inbound))

    def speaks(self, number: int, *, observed: str = SEEN, hop: bool = True) -> None:
        protocols = (HOP_PROTOCOL,) if hop else ()
        self.tell("spoken", Spoken(peer(number), protocols, observed))

    def dialled(self, number: int, **more: Any) -> None:
        self.up(number)
        self.speaks(number, **more)

    def answer(self, number: int, body=None, *, left_us: int = RESERVATION_US) -> None:
        (call,) = [
            one
            for one in self.open
            if one.port == "transport.reserve" and one.arguments == peer(number)
        ]
        self.open.remove(call)
        given = body or Reserved(peer(number), (through(number),), left_us)
        self.event(Answered(call.token, given))

    def pass_time(self, to_us: int) -> None:
        while (due := self.machine.next_timer()) is not None and due <= to_us:
            self.now_us = max(self.now_us, due)
            self._take(self.machine.on_timer(Now(self.now_us, self.now_us)))
        self.now_us = to_us

    def take(self) -> list[tuple[str, object]]:
        calls, self.calls = self.calls, []
        return calls

    @property
    def standing(self) -> Standing:
        found = self.tell("standing", None)
        assert isinstance(found, Standing)
        return found


def test_behind_a_router_places_are_asked_for_at_once():
    bench = Bench()
    bench.dialled(1)
    assert bench.take() == [("reserve", peer(1))]
    assert bench.standing.needs
    bench.answer(1)
    assert bench.take() == [("circuits", (through(1),))]
    assert bench.standing == Standing(False, False, (peer(1),), (through(1),), True)


def test_who_is_seen_under_its_own_address_waits_for_visitors():
    bench = Bench(own=("/ip4/45.0.0.9/tcp/7701",))
    bench.dialled(1, observed="/ip4/45.0.0.9/tcp/60001")
    bench.pass_time(REACHED_WAIT_US - 1)
    assert bench.take() == []
    bench.pass_time(REACHED_WAIT_US)
    assert bench.take() == [("reserve", peer(1))]


def test_who_was_dialled_from_outside_is_a_hop_and_needs_none():
    bench = Bench(own=("/ip4/45.0.0.9/tcp/7701",))
    bench.dialled(1, observed="/ip4/45.0.0.9/tcp/60001")
    bench.up(2, inbound=True)
    assert bench.take() == [("hop", True)]
    bench.pass_time(10 * REACHED_WAIT_US)
    assert bench.take() == []
    assert bench.standing == Standing(True, True, (), (), False)


@pytest.mark.parametrize("own", [HOME, ()], ids=["told not to", "listens nowhere"])
def test_who_does_not_offer_or_cannot_is_no_hop(own):
    bench = Bench(offers=not own, own=own)
    bench.up(2, inbound=True)
    assert bench.take() == []


def test_a_visitor_of_the_same_network_does_not_count_out_there():
    bench = Bench()
    bench.up(7, inbound=True, address="/ip4/192.168.1.7/tcp/60007")
    assert bench.take() == [("hop", True)]  # for those of this network
    bench.dialled(1)
    assert bench.take() == [("hop", False), ("reserve", peer(1))]


def test_a_visitor_through_a_hop_does_not_count():
    bench = Bench()
    bench.dialled(1)
    bench.answer(1)
    bench.take()
    bench.up(2, inbound=True, address=through(1))
    assert bench.take() == []
    assert not bench.standing.reached


def test_a_node_that_can_be_reached_after_all_leaves_its_places():
    bench = Bench()
    bench.dialled(1)
    bench.answer(1)
    bench.take()
    bench.up(2, inbound=True)
    assert bench.take() == [("hop", True), ("leave", peer(1)), ("circuits", ())]


def test_who_listens_nowhere_asks_whoever_it_has_dialled():
    bench = Bench(own=())
    bench.up(1, address="/ip4/127.0.0.1/tcp/1")
    bench.speaks(1, observed="")
    assert bench.take() == [("reserve", peer(1))]


def test_two_programs_of_one_machine_need_no_hop():
    bench = Bench(own=("/ip4/127.0.0.1/tcp/7701",))
    bench.up(1, address="/ip4/127.0.0.1/tcp/1")
    bench.speaks(1, observed="")
    bench.pass_time(10 * REACHED_WAIT_US)
    assert bench.take() == []


def test_only_hops_that_were_dialled_far_out_are_asked_and_not_too_many():
    bench = Bench()
    bench.up(5, address="/ip4/192.168.1.5/tcp/7701")
    bench.speaks(5)
    bench.up(6, inbound=True, address="/ip4/192.168.1.6/tcp/60001")
    bench.speaks(6)
    bench.dialled(4, hop=False)
    bench.up(3, address=through(9))
    bench.speaks(3)
    bench.take()
    for number in (1, 2, 8):
        bench.now_us += 1
        bench.dialled(number)
    asked = [arguments for operation, arguments in bench.take() if operation == "reserve"]
    assert asked == [peer(1), peer(2)]
    assert len(asked) == HOPS_MAX


def test_a_hop_that_refuses_makes_room_for_another_and_is_asked_again():
    bench = Bench()
    for number in (1, 2, 3):
        bench.now_us += 1
        bench.dialled(number)
    bench.take()
    bench.answer(1, Failure("limit_reached", "full"))
    assert bench.take() == [("reserve", peer(3))]
    bench.event(PeerDown(peer(3), "gone"))
    bench.event(PeerDown(peer(2), "gone"))
    assert bench.take() == []
    bench.pass_time(bench.now_us + HOP_RETRY_US)
    assert bench.take() == [("reserve", peer(1))]


def test_a_hop_that_goes_takes_its_place_along():
    bench = Bench()
    bench.dialled(1)
    bench.answer(1)
    bench.take()
    bench.event(PeerDown(peer(1), "gone"))
    assert bench.take() == [("circuits", ())]
    bench.dialled(1)
    assert bench.take() == [("reserve", peer(1))]


@pytest.mark.parametrize(
    ("left_us", "renewed_us"),
    [
        (RESERVATION_US, RESERVATION_US // 2),
        (-5, RESERVATION_US_MIN // 2),
        (1 << 62, RESERVATION_US_MAX // 2),
    ],
    ids=["usual", "its clock is behind", "for ever"],
)
def test_a_place_is_renewed_at_half_of_its_time(left_us, renewed_us):
    bench = Bench()
    bench.dialled(1)
    bench.answer(1, left_us=left_us)
    bench.take()
    bench.pass_time(renewed_us - 1)
    assert bench.take() == []
    bench.pass_time(renewed_us)
    assert bench.take() == [("reserve", peer(1))]
    assert bench.standing.addresses == (through(1),)  # meanwhile
    bench.answer(1, Failure("peer_unreachable", "it says no more"))
    assert bench.take() == [("circuits", ())]


def test_an_answer_after_the_hop_has_gone_changes_nothing():
    bench = Bench()
    bench.dialled(1)
    bench.event(PeerDown(peer(1), "gone"))
    bench.answer(1)
    assert bench.take() == [("reserve", peer(1))]
    assert bench.standing.addresses == ()


def test_in_another_network_nobody_has_come_yet():
    bench = Bench()
    bench.up(2, inbound=True)
    assert bench.take() == [("hop", True)]
    bench.tell("listening", ("/ip4/10.9.9.9/tcp/7701",))
    assert bench.take() == [("hop", False)]


def test_its_own_circuits_among_the_addresses_are_no_move():
    bench = Bench()
    bench.up(2, inbound=True)
    bench.take()
    bench.tell("listening", (*HOME, through(1)))
    assert bench.take() == []


def test_of_a_hops_addresses_the_proven_one_and_what_reaches_further():
    bench = Bench(own=())
    near = f"/ip4/192.168.1.9/tcp/7701/p2p/{peer_id_text(peer(1))}/p2p-circuit"
    loop = near.replace("192.168.1.9", "127.0.0.1")
    bench.up(1, address="/ip4/192.168.1.9/tcp/7701")
    bench.speaks(1)
    bench.take()
    bench.answer(1, Reserved(peer(1), (near, loop, through(1), through(1)), RESERVATION_US))
    assert bench.take() == [("circuits", (near, through(1)))]


def test_what_is_said_over_a_circuit_comes_from_anywhere():
    loop = f"/ip4/127.0.0.1/tcp/1/p2p/{peer_id_text(peer(1))}/p2p-circuit"
    assert reach_of_text(loop) is Reach.EVERYWHERE
    said = [Multiaddr.parse(one) for one in ("/ip4/127.0.0.1/tcp/22", loop, through(2), HOME[0])]
    assert own_word(said, reach_of_text(loop)) == (through(2), HOME[0])
    assert others_word(said, reach_of_text(loop)) == (through(2),)
    assert others_word(said, Reach.MACHINE) == tuple(map(str, said))


def straightened(bench: Bench, body: object) -> None:
    (call,) = [one for one in bench.open if one.port == "transport.straighten"]
    bench.open.remove(call)
    bench.event(Answered(call.token, body))


def test_a_direct_way_to_who_is_behind_a_hop_is_tried_ever_more_seldom():
    bench = Bench()
    bench.up(2, inbound=True, address=through(1))
    bench.tell("spoken", Spoken(peer(2), (), "", (place(2),)))
    bench.tell("spoken", Spoken(peer(2), (), "", (place(2), place(3))))  # it has moved meanwhile
    due_us = STRAIGHTEN_US_MIN
    for tries in range(1, 12):
        bench.pass_time(due_us - 1)
        assert bench.take() == []
        bench.pass_time(due_us)
        wanted = DialRequest((place(2), place(3)), peer(2))
        assert bench.take() == [("straighten", wanted)]
        straightened(bench, False)
        due_us += min(STRAIGHTEN_US_MIN << tries, STRAIGHTEN_US_MAX)
    assert STRAIGHTEN_US_MIN << 8 == STRAIGHTEN_US_MAX


def test_when_the_direct_way_is_there_nothing_more_is_tried():
    bench = Bench(own=("/ip4/127.0.0.1/tcp/7701",))
    bench.up(2, inbound=True, address=through(1))
    bench.tell("spoken", Spoken(peer(2), (), "", (place(2),)))
    bench.pass_time(STRAIGHTEN_US_MIN)
    assert len(bench.take()) == 1
    bench.event(PeerDown(peer(2), "replaced"))
    bench.up(2, address="/ip4/127.0.0.1/tcp/2")
    straightened(bench, True)
    bench.tell("spoken", Spoken(peer(2), (), "", (place(2),)))
    bench.pass_time(10 * STRAIGHTEN_US_MAX)
    assert bench.take() == []


def test_who_says_no_address_is_not_tried():
    bench = Bench()
    bench.up(2, inbound=True, address=through(1))
    bench.tell("spoken", Spoken(peer(2), (), ""))
    bench.pass_time(10 * STRAIGHTEN_US_MAX)
    assert bench.take() == []


def test_an_unknown_operation_is_refused():
    answer = Bench().tell("dance", None)
    assert isinstance(answer, Failure)
    assert answer.code == "method_unknown"
