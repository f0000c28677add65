"""The simulated world: each fault does what it says, in both fidelities where it applies."""

from collections.abc import Sequence
from typing import Any

import pytest

from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import SIM_SILENCE_US
from dms3.core.machine import (
    Answered,
    Call,
    ClockJumped,
    PeerDown,
    PeerUp,
    Persist,
    Received,
    Reply,
    Request,
    Requested,
    Send,
    Withdrawn,
)
from dms3.node.inbox import Hosted, Overflow
from dms3.sim.bytes_network import BytesNetwork
from dms3.sim.checkers import Checker, ViolationError
from dms3.sim.faults import CALM, FaultPlan, Faults, draw_plan
from dms3.sim.message_network import MessageNetwork
from dms3.sim.world import World
from unit.driver_kit import ASK, GOSSIP, VOTE, Script, token

SECOND = 1_000_000
PROTOCOLS = {GOSSIP: Overflow.DROP_OLDEST, VOTE: Overflow.HOLD, ASK: Overflow.HOLD}
NETWORKS = [MessageNetwork, BytesNetwork]


class Two:
    """Nodes 0 and 1 (and more), each with a script that lives across restarts."""

    def __init__(
        self,
        plan: FaultPlan = CALM,
        network: Any = MessageNetwork,
        count: int = 2,
        checkers: Sequence[Checker] = (),
    ) -> None:
        self.scripts = [Script() for _ in range(count)]
        self.faults = Faults(1, plan)
        self.world = World(
            seed=1,
            count=count,
            build=lambda index, _peers, _entropy: [Hosted("one", self.scripts[index], PROTOCOLS)],
            network=lambda world: network(world, self.faults),
            faults=self.faults,
            checkers=checkers,
        )
        self.world.start()
        self.run(SECOND // 2)

    def run(self, for_us: int) -> None:
        self.world.run(self.world.time_us + for_us)

    def do(self, index: int, *effects: Any) -> None:
        """Let node `index` say something."""
        self.scripts[index].rules["do"] = list(effects)
        self.world.nodes[index].call("one.do", None, lambda _: None)

    def seen(self, index: int, kind: type) -> list[Any]:
        return [event for event in self.scripts[index].seen if isinstance(event, kind)]

    def ask(self, source: int = 0, target: int = 1, patience_us: int = SECOND) -> None:
        deadline = self.world.nodes[source].now().mono_us + patience_us
        peer = self.world.peers[target]
        self.do(source, Request(peer, ASK, b"q", token("t"), deadline))


@pytest.mark.parametrize("network", NETWORKS)
def test_calm_nodes_hear_each_other(network: Any) -> None:
    two = Two(network=network)
    assert [event.peer for event in two.seen(0, PeerUp)] == [two.world.peers[1]]
    two.scripts[1].rules[b"q"] = lambda event: [Reply(event.request, b"a" * 100_000)]
    two.ask()
    two.do(0, Send(two.world.peers[1], GOSSIP, b"news"))
    two.run(SECOND)
    assert [event.body for event in two.seen(1, Received)] == [b"news"]
    assert two.seen(0, Answered) == [Answered(token("t"), b"a" * 100_000)]


@pytest.mark.parametrize("network", NETWORKS)
def test_an_unanswered_question_times_out_at_its_deadline(network: Any) -> None:
    two = Two(network=network)
    two.ask(patience_us=SECOND)
    two.run(SECOND - 1)
    assert two.seen(0, Answered) == []
    two.run(SECOND)
    (answer,) = two.seen(0, Answered)
    assert answer.body.code == "timed_out"
    assert len(two.seen(1, Withdrawn)) == 1, "the other side is told"


@pytest.mark.parametrize("network", NETWORKS)
def test_a_crash_breaks_connections_and_a_restart_mends_them(network: Any) -> None:
    two = Two(network=network)
    two.ask(patience_us=60 * SECOND)
    two.run(SECOND)
    two.world.nodes[1].crash(durable=False)
    with pytest.raises(Dms3Error):
        two.world.nodes[1].call("one.do", None, print)
    two.run(SECOND)
    assert len(two.seen(0, PeerDown)) == 1
    (answer,) = two.seen(0, Answered)
    assert answer.body.code == "peer_unreachable"
    two.ask()
    two.run(SECOND // 10)
    assert two.seen(0, Answered)[-1].body.code == "peer_unreachable"
    two.world.restart(two.world.nodes[1])
    two.run(5 * SECOND)
    assert len(two.seen(0, PeerUp)) == 2
    assert len(two.seen(1, PeerUp)) == 2


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("one_way", [False, True])
def test_a_partition_silences_and_then_breaks(network: Any, *, one_way: bool) -> None:
    two = Two(network=network)
    two.faults._blocked = {(0, 1)} if one_way else {(0, 1), (1, 0)}
    two.world.network.rewired()
    two.do(0, Send(two.world.peers[1], GOSSIP, b"lost?"))
    two.run(SECOND)
    assert two.seen(1, Received) == []
    assert two.seen(0, PeerDown) == []
    two.run(SIM_SILENCE_US)
    assert len(two.seen(0, PeerDown)) == len(two.seen(1, PeerDown)) == 1
    two.faults._blocked = set()
    two.world.network.rewired()
    two.run(2 * SECOND)
    assert len(two.seen(0, PeerUp)) == len(two.seen(1, PeerUp)) == 2


def test_a_short_partition_only_delays_bytes() -> None:
    two = Two(network=BytesNetwork)
    two.faults._blocked = {(0, 1), (1, 0)}
    two.world.network.rewired()
    for number in range(20):
        two.do(0, Send(two.world.peers[1], GOSSIP, b"%d" % number))
        two.run(SECOND // 20)
    two.faults._blocked = set()
    two.run(SECOND)
    assert [event.body for event in two.seen(1, Received)] == [b"%d" % n for n in range(20)]


def test_lost_copied_and_overtaking_messages() -> None:
    def numbers(plan: FaultPlan) -> list[int]:
        two = Two(plan)
        for number in range(200):
            two.do(0, Send(two.world.peers[1], GOSSIP, b"%d" % number))
            two.run(100)
        two.run(SECOND)
        return [int(event.body) for event in two.seen(1, Received)]

    everything = list(range(200))
    assert numbers(CALM) == everything
    lost = numbers(FaultPlan(loss_per_million=300_000))
    assert 80 < len(lost) < 190
    assert lost == sorted(lost)
    copied = numbers(FaultPlan(copies_per_million=300_000))
    assert len(copied) > 220
    assert set(copied) == set(everything)
    overtaken = numbers(FaultPlan(reorder=True))
    assert overtaken != everything == sorted(overtaken)


@pytest.mark.parametrize("network", NETWORKS)
def test_a_vote_that_finds_no_room_is_offered_again(network: Any, monkeypatch: Any) -> None:
    two = Two(network=network)
    refused: list[bytes] = []
    driver = two.world.nodes[1].driver
    take = driver.received

    def busy(peer, protocol, body):
        if len(refused) < 3:
            refused.append(body)
            return False
        return take(peer, protocol, body)

    monkeypatch.setattr(driver, "received", busy, raising=True)
    for body in (b"1", b"2"):
        two.do(0, Send(two.world.peers[1], VOTE, body))
    two.run(SECOND)
    assert sorted(event.body for event in two.seen(1, Received)) == [b"1", b"2"]
    assert len(refused) == 3


def test_a_clock_jump_reaches_the_machine() -> None:
    two = Two()
    node = two.world.nodes[0]
    node.wall_offset_us += 3600 * SECOND
    node.step()
    assert two.seen(0, ClockJumped) == [ClockJumped(3600 * SECOND)]


@pytest.mark.parametrize(
    ("crash_after", "durable", "said"),
    [(None, False, 0), (None, True, 0), (0, True, 0), (1, True, 1), (2, True, 2)],
)
def test_each_crash_point(crash_after: int | None, said: int, *, durable: bool) -> None:
    class Ears(Checker):
        def __init__(self) -> None:
            self.heard: list[Any] = []

        def said(self, node, action):
            del node
            self.heard.append(action)

    ears = Ears()
    two = Two(checkers=[ears])
    peer = two.world.peers[1]
    node = two.world.nodes[0]
    two.do(0, Persist("t", b"k", b"v"), Send(peer, GOSSIP, b"1"), Send(peer, GOSSIP, b"2"))
    if crash_after is None:
        node.crash(durable=durable)  # while the transaction runs
    else:
        node.crash_after = crash_after
    two.run(SECOND)
    assert node.driver is None
    assert len(ears.heard) == said
    assert (node.disk.get("one/t", b"k") == b"v") is durable
    assert len(two.seen(1, Received)) <= said


def test_a_machine_without_rest_is_a_violation() -> None:
    two = Two()
    two.scripts[0].rules["again"] = lambda _: [Call("one.again", None, token("again"))]
    with pytest.raises(ViolationError, match="does not come to rest"):
        two.world.nodes[0].call("one.again", None, print)


def test_a_port_that_the_world_lacks_is_a_violation() -> None:
    two = Two()
    with pytest.raises(ViolationError, match="no port 'library'"):
        two.do(0, Call("library.add", None, token("t")))


def test_monotonic_clocks_differ_after_each_boot() -> None:
    two = Two()
    node = two.world.nodes[0]
    before = node.now()
    node.crash(durable=False)
    two.world.restart(node)
    assert node.now().wall_us == before.wall_us
    assert node.now().mono_us != before.mono_us


def test_swarm_draws_switch_every_fault_on_and_off() -> None:
    plans = [draw_plan(seed).named() for seed in range(100)]
    for fault in (
        "loss_per_million",
        "copies_per_million",
        "reorder",
        "partition_every_us",
        "crash_every_us",
        "clock_jump_every_us",
        "stall_per_million",
        "slow_per_million",
    ):
        assert 20 < sum(fault in plan for plan in plans) < 80, fault


def test_a_refused_question_is_answered_with_the_failure() -> None:
    two = Two()
    two.scripts[1].rules[Requested] = lambda event: [
        Reply(event.request, Failure("not_found", "no"))
    ]
    two.ask()
    two.run(SECOND)
    assert two.seen(0, Answered)[0].body == Failure("not_found", "no")
