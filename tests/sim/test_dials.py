"""The simulated port "transport": every end of a dial, in both fidelities."""

import pytest

from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.core.limits import DIAL_TIMEOUT_US, SECOND_US
from dms3.core.machine import Answered, Call, Cancel, PeerDown, PeerUp
from dms3.libp2p.peer_id import NodeKey, peer_id_text
from dms3.node.inbox import Hosted, Overflow
from dms3.p2p.peers import PROTOCOL, PeerBook
from dms3.p2p.port import Dialed, DialRequest, HangUp, Refuse
from dms3.sim.bytes_network import BytesNetwork
from dms3.sim.checkers import ViolationError
from dms3.sim.faults import CALM, Faults
from dms3.sim.message_network import MessageNetwork
from dms3.sim.places import address_of
from dms3.sim.seeds import SeededEntropy, stream
from dms3.sim.wiring import Wiring
from dms3.sim.world import World
from unit.driver_kit import ASK, Script, token

pytestmark = pytest.mark.parametrize("network", [MessageNetwork, BytesNetwork])


class Few:
    """Four nodes that nobody has connected, each with a script."""

    def __init__(self, network, build=None) -> None:
        self.scripts = [Script() for _ in range(4)]
        self.faults = Faults(1, CALM)
        self.world = World(
            seed=1,
            count=4,
            build=build
            or (lambda index, *_: [Hosted("one", self.scripts[index], {ASK: Overflow.HOLD})]),
            network=lambda world: network(world, self.faults, Wiring),
            faults=self.faults,
            checkers=(),
        )
        self.world.start()
        self.run(SECOND_US)

    def run(self, for_us):
        self.world.run(self.world.time_us + for_us)

    def call(self, index, operation, arguments, name="t"):
        self.do(index, Call(f"transport.{operation}", arguments, token(name)))

    def do(self, index, effect):
        self.scripts[index].rules["do"] = [effect]
        self.world.nodes[index].call("one.do", None, lambda _: None)

    def dial(self, index, *addresses: str, peer=None, name="t"):
        self.call(index, "dial", DialRequest(addresses, peer), name)

    def seen(self, index, kind):
        return [event for event in self.scripts[index].seen if isinstance(event, kind)]

    def answers(self, index):
        return [event.body for event in self.seen(index, Answered)]

    def ups(self):
        return [len(self.seen(index, PeerUp)) for index in range(4)]


def test_nobody_is_connected_until_somebody_dials(network):
    few = Few(network)
    assert few.ups() == [0, 0, 0, 0]
    peer = few.world.peers[1]
    few.dial(0, address_of(1), peer=peer)
    few.run(SECOND_US)
    assert few.answers(0) == [Dialed(peer, address_of(1))]
    assert few.seen(0, PeerUp) == [PeerUp(peer, address_of(1), inbound=False)]
    (up,) = few.seen(1, PeerUp)
    assert (up.peer, up.inbound) == (few.world.peers[0], True)
    few.dial(0, address_of(1), peer=peer, name="again")
    few.run(SECOND_US)
    assert few.answers(0)[1] == Dialed(peer, address_of(1)), "an open connection is used"
    assert few.ups() == [1, 1, 0, 0]


def test_whoever_answers_will_do_when_nobody_is_named(network):
    few = Few(network)
    few.dial(0, address_of(2))
    few.dial(1, f"{address_of(3)}/p2p/{peer_id_text(few.world.peers[3])}")
    few.run(SECOND_US)
    assert few.answers(0)[0].peer == few.world.peers[2]
    assert few.answers(1)[0].peer == few.world.peers[3]


def test_a_dial_takes_a_round_trip(network):
    few = Few(network)
    few.dial(0, address_of(1))
    few.run(2 * CALM.delay_min_us - 1)
    assert few.answers(0) == []
    few.run(20 * CALM.delay_max_us)
    assert len(few.answers(0)) == 1


def test_where_nobody_listens(network):
    few = Few(network)
    few.world.nodes[1].crash(durable=True)
    few.dial(0, address_of(1), peer=few.world.peers[1], name="down")
    few.dial(0, "/ip4/192.0.2.1/tcp/4001", name="elsewhere")
    few.dial(0, address_of(77), name="beyond")
    few.run(SECOND_US)
    assert [body.code for body in few.answers(0)] == ["peer_unreachable"] * 3
    assert few.ups() == [0, 0, 0, 0]


def test_addresses_that_cannot_be_dialled(network):
    few = Few(network)
    for name, address in enumerate(
        ("", "/ip4/10.0.0.1", "/ip4/10.0.0.1/udp/1/quic-v1", "nonsense")
    ):
        few.dial(0, address, name=str(name))
    few.dial(0, name="none")
    other = peer_id_text(few.world.peers[3])
    few.dial(0, f"{address_of(1)}/p2p/{other}", peer=few.world.peers[1], name="differs")
    few.run(SECOND_US)
    assert [body.code for body in few.answers(0)] == ["peer_unreachable"] * 6


def test_the_wrong_peer_and_oneself(network):
    few = Few(network)
    few.dial(0, address_of(1), peer=few.world.peers[2])
    few.dial(0, address_of(0), name="self")
    few.run(SECOND_US)
    assert sorted(body.code for body in few.answers(0)) == ["peer_refused", "peer_unreachable"]
    stranger = NodeKey.generate(SeededEntropy(stream(9))).peer_id
    few.dial(0, address_of(1), peer=stranger, name="stranger")
    few.run(SECOND_US)
    assert few.answers(0)[-1].code == "peer_unreachable"
    assert few.ups() == [0, 0, 0, 0]


def test_the_second_address_is_tried_when_the_first_fails(network):
    few = Few(network)
    few.dial(0, address_of(77), address_of(1), peer=few.world.peers[1])
    few.run(SECOND_US)
    assert few.answers(0) == [Dialed(few.world.peers[1], address_of(1))]


@pytest.mark.parametrize("one_way", [False, True])
def test_silence_ends_with_the_timeout(network, one_way):
    few = Few(network)
    few.faults._blocked = {(1, 0)} if one_way else {(0, 1), (1, 0)}
    few.dial(0, address_of(1), peer=few.world.peers[1])
    few.run(DIAL_TIMEOUT_US - 1)
    assert few.answers(0) == []
    few.run(2)
    assert [body.code for body in few.answers(0)] == ["timed_out"]
    few.dial(0, address_of(1), address_of(2), name="two")
    few.run(SECOND_US)
    assert few.answers(0)[-1] == Dialed(few.world.peers[2], address_of(2))


def test_hanging_up_ends_both_ends(network):
    few = Few(network)
    few.dial(0, address_of(1))
    few.run(SECOND_US)
    few.call(0, "hang_up", HangUp(few.world.peers[1], "not needed"), "h")
    few.run(SECOND_US)
    assert few.answers(0)[-1] is None
    assert len(few.seen(0, PeerDown)) == len(few.seen(1, PeerDown)) == 1
    few.run(60 * SECOND_US)
    assert few.ups() == [1, 1, 0, 0], "nobody dials again by himself"
    few.dial(1, address_of(0), name="back")
    few.run(SECOND_US)
    assert few.ups() == [2, 2, 0, 0]


def test_who_refuses_a_peer_has_no_connection_with_it_for_a_while(network):
    few = Few(network)
    few.dial(0, address_of(1))
    few.run(SECOND_US)
    few.call(0, "refuse", Refuse(few.world.peers[1], 10 * SECOND_US), "r")
    few.run(SECOND_US)
    assert len(few.seen(0, PeerDown)) == 1
    few.dial(0, address_of(1), peer=few.world.peers[1], name="mine")
    few.dial(1, address_of(0), peer=few.world.peers[0], name="theirs")
    few.run(2 * SECOND_US)
    assert few.answers(0)[-1].code == "peer_unreachable"
    assert isinstance(few.answers(1)[-1], Dialed), "the dialler is told only later"
    assert len(few.seen(1, PeerDown)) == 2
    assert few.ups() == [1, 2, 0, 0], "who refuses has seen nothing"
    few.run(10 * SECOND_US)
    few.dial(1, address_of(0), name="later")
    few.run(SECOND_US)
    assert few.ups() == [2, 3, 0, 0]


def test_a_dial_that_is_forgotten_is_not_answered(network):
    few = Few(network)
    few.dial(0, address_of(1))
    few.do(0, Cancel(token("t")))
    few.run(SECOND_US)
    assert few.answers(0) == []


def test_a_crash_ends_dials_and_connections(network):
    few = Few(network)
    few.dial(0, address_of(1), name="one")
    few.dial(2, address_of(0), name="two")
    few.world.nodes[0].crash(durable=False)
    few.run(SECOND_US)
    few.world.restart(few.world.nodes[0])
    few.run(SECOND_US)
    assert few.answers(0) == []
    assert few.answers(2)[0].code == "peer_unreachable"


def test_dials_of_both_sides_at_once_give_one_connection(network):
    few = Few(network)
    few.dial(0, address_of(1), peer=few.world.peers[1])
    few.dial(1, address_of(0), peer=few.world.peers[0])
    few.run(SECOND_US)
    assert isinstance(few.answers(0)[0], Dialed)
    assert isinstance(few.answers(1)[0], Dialed)
    assert few.ups() == [1, 1, 0, 0]


def test_an_operation_that_the_transport_lacks_is_a_violation(network):
    few = Few(network)
    with pytest.raises(ViolationError, match="has no 'fly'"):
        few.call(0, "fly", None)


def test_a_port_of_the_scenario_answers(network):
    few = Few(network)

    def library(node, operation, arguments):
        if operation == "raise":
            raise Failure("not_found", "nothing").error()
        return node.index, operation, arguments

    few.world.ports = {"library": library}
    few.do(2, Call("library.load", b"cid", token("l")))
    few.do(2, Call("library.raise", None, token("r")))
    few.run(1)
    first, second = few.answers(2)
    assert first == (2, "load", b"cid")
    assert second.code == "not_found"


def test_peer_books_find_each_other_through_one_address(network):
    def build(index, peers, entropy):
        bootstrap = () if index == 0 else (address_of(0),)
        book = PeerBook(PeerId(peers[index]), bytes(32), bootstrap, entropy)
        return [Hosted("peers", book, {PROTOCOL: Overflow.HOLD})]

    few = Few(network, build)
    few.run(2 * SECOND_US)
    rows = []
    few.world.nodes[0].call("peers.list", None, rows.append)
    few.run(1)
    assert sorted(row.peer for row in rows[0]) == sorted(few.world.peers[1:])
    assert {row.addresses[-1] for row in rows[0]} == {address_of(index) for index in (1, 2, 3)}
    assert all(row.connected and row.rtt_us for row in rows[0])
    few.world.nodes[0].crash(durable=True)
    few.run(SECOND_US)
    few.world.restart(few.world.nodes[0])
    few.run(30 * SECOND_US)
    few.world.nodes[0].call("peers.list", None, rows.append)
    few.run(1)
    assert all(row.connected for row in rows[1])
