"""What nodes of an app hold: who missed something is given it, who was away compares at once.

Bare worlds of the production machines in virtual time; figures are printed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from dms3.chain.action import VERSION, Action, SignedAction, sign_action
from dms3.chain.entry import make_entry
from dms3.chain.messages import PROTOCOL, ChainQuestion, Publish, decode_chain_question
from dms3.chain.operations import Change, Commit, Committed
from dms3.chain.operations_validation import GetActivity, GetRecord
from dms3.chain.ops import encode_op, ops_of
from dms3.core.codec import encode
from dms3.core.errors import Dms3Error
from dms3.core.limits import CHAIN_OPS_MAX, GOSSIP_PERIOD_US, GOSSIP_REST_US, SECOND_US
from dms3.core.machine import Request
from dms3.core.overlay import AskNodes, NodeAt, location
from dms3.sim.bare import BareNode
from dms3.sim.places import address_of
from dms3.sim.scenarios.app_members import _own
from dms3.sim.scenarios.app_world import OPS, AppWorld
from dms3.sim.seeds import stream
from dms3.validation.passing import Passing
from dms3.validation.reconciling import Reconciling

CONVICTIONS = "validation/convictions"


def held(node: BareNode) -> frozenset[bytes]:
    return frozenset(node.disk.table(OPS))


def ask(app: AppWorld, node: BareNode, port: str, arguments: Any, seconds: float = 5) -> Any:
    """The answer of a machine of `node`, for which virtual time passes."""
    answers: list[Any] = []
    app.world.call(node, port, arguments, answers.append)
    app.run(int(seconds * SECOND_US))
    (answer,) = answers
    return answer


def write(app: AppWorld, node: BareNode, texts: Sequence[str]) -> Committed:
    """One bundle of notes."""
    changes = tuple(Change("create", kind="note", content={"text": text}) for text in texts)
    done = ask(app, node, "source.commit", Commit(app.dna.id, changes))
    assert isinstance(done, Committed), done
    return done


def questions_of(app: AppWorld) -> list[tuple[int, int, ChainQuestion]]:
    """All questions about chains from now on: who asks whom what."""
    world, asked = app.world, []
    carried = world._request

    def request(node: BareNode, name: str, effect: Request) -> None:
        if effect.protocol == PROTOCOL:
            question = decode_chain_question(effect.body)
            asked.append((node.index, world.index_of[effect.peer], question))
        carried(node, name, effect)

    world._request = request
    return asked


# POKE


def test_a_holder_that_missed_something_has_it_after_somebodys_get(monkeypatch):
    """Nobody compares, so only the read can have brought it."""
    monkeypatch.setattr(Reconciling, "_begin", lambda *_: None)
    app = AppWorld(1, 4)
    app.begin(app.world.nodes, 1)
    reader, author, away = app.world.nodes[0], app.world.nodes[1], app.world.nodes[3]
    app.world.kill(away)
    (action,) = write(app, author, ["missed"]).actions
    app.start(away)
    app.run(3 * 60 * SECOND_US)
    lacks = held(reader) - held(away)
    assert lacks, "it was not there"
    found = ask(app, reader, "validation.get", GetRecord(app.dna.id, action))
    assert len(held(reader) - held(away)) == len(lacks) - 1
    made = found.records[0].signed.action
    ask(app, reader, "validation.get", GetRecord(app.dna.id, made.entry))
    assert len(held(reader) - held(away)) == len(lacks) - 2
    ask(app, reader, "validation.activity", GetActivity(app.dna.id, made.author))
    assert held(away) == held(reader)


# Warm start


def returned(before: int, missed: int, away_us: int = 60 * SECOND_US) -> tuple[int, float]:
    """Questions to and from a node that was away, and seconds, until it holds what it missed."""
    app = AppWorld(2, 3)
    app.begin(app.world.nodes, 1)
    author, away = app.world.nodes[0], app.world.nodes[2]
    for first in range(0, before, 50):
        write(app, author, [f"before {n}" for n in range(first, min(first + 50, before))])
    app.run(GOSSIP_REST_US)
    app.world.kill(away)
    for first in range(0, missed, 50):
        write(app, author, [f"missed {n}" for n in range(first, min(first + 50, missed))])
    app.run(away_us)
    assert held(author) - held(away)
    asked = questions_of(app)
    begun = app.world.time_us
    app.start(away)
    while held(away) != held(author):
        app.run(SECOND_US // 4)
        assert app.world.time_us - begun < 600 * SECOND_US
    own = [question for source, target, question in asked if away.index in (source, target)]
    brought = [len(each.bring.ops) for each in own if each.bring is not None]
    assert max(brought) <= CHAIN_OPS_MAX
    seconds = (app.world.time_us - begun) / SECOND_US
    print(f"held {len(held(author))} ops, lacked {sum(brought)}: {len(own)} questions, {seconds} s")
    return len(own), seconds


def test_who_was_away_asks_for_what_it_missed_and_not_for_what_it_holds():
    few, quick = returned(10, 3)
    many, _ = returned(200, 3)
    more, _ = returned(10, 100)
    assert quick < GOSSIP_PERIOD_US / SECOND_US, "it does not wait for its turn"
    assert many <= 2 * few, "twenty times as much is held"
    assert more > many, "and thirty times as much was missed"


@pytest.mark.parametrize(
    "hours", [3, pytest.param(72, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_who_was_off_for_hours_or_days_compares_as_soon_as_it_is_back(hours):
    """Its presence is over, and so are those that it knew; nothing that it held is let go."""
    app = AppWorld(2, 3)
    app.begin(app.world.nodes, 1)
    author, away = app.world.nodes[0], app.world.nodes[2]
    write(app, author, [f"before {n}" for n in range(20)])
    app.run(GOSSIP_REST_US)
    before = held(away)
    app.world.kill(away)
    write(app, author, ["missed"])
    app.run(hours * 3_600 * SECOND_US)
    lacked = len(held(author) - before)
    assert lacked > 0
    asked = questions_of(app)
    app.start(away)
    app.run(GOSSIP_PERIOD_US)
    assert before < held(away) == held(author)
    own = [question for source, target, question in asked if away.index in (source, target)]
    brought = sum(len(each.bring.ops) for each in own if each.bring is not None)
    print(f"{hours} hours: {len(own)} questions, {brought} ops brought, {lacked} lacked")
    assert lacked <= brought <= 2 * lacked
    assert not any(each.vouch for each in own), "it asks nobody whether it may let something go"


# Forks


def forked(app: AppWorld, halves: Callable[[list[int]], Iterator[list[int]]]) -> None:
    """An author signs two actions at one place, and gives each to another half of its holders."""
    node = app.world.nodes[0]
    own = _own(node)
    key = own.tree.agent(own.device, app.dna.id, 0)
    head = ask(app, node, "source.head", app.dna.id, 0.01)
    holders = app.ground.holders(int.from_bytes(location(key.public), "big"))
    for number, half in enumerate(halves([index for index in holders if index != 0])):
        entry, data = make_entry({"text": f"side {number}"})
        action = Action(
            VERSION, app.dna.id, key.public, own.tree.root().public, head.seq + 1, head.head,
            app.world.now().wall_us, "create", entry=entry, entry_kind="note",
        )  # fmt: skip
        show(app, node, half, sign_action(key, action), data)


def show(
    app: AppWorld, node: BareNode, to: Sequence[int], signed: SignedAction, entry: bytes
) -> None:
    ops = tuple(encode_op(op) for op in ops_of(signed, entry))
    body = encode(ChainQuestion(app.dna.id, publish=Publish(ops)))
    nodes = tuple(NodeAt(app.world.nodes[each].peer, (address_of(each),)) for each in to)
    app.world.call(node, "dht.ask", AskNodes(nodes, PROTOCOL, body), lambda _: None)


def without_chain(_node: BareNode, _operation: str, _arguments: Any) -> Any:
    raise Dms3Error("not_found", "This node has no chain.")


def found_after(app: AppWorld, at_most_us: int) -> float | None:
    """Seconds until somebody else has convicted the author."""
    app.world._ports = {**app.world._ports, "source": without_chain}
    begun = app.world.time_us
    while app.world.time_us - begun <= at_most_us:
        app.run(SECOND_US // 4)
        if any(node.disk.table(CONVICTIONS) for node in app.world.nodes[1:]):
            return (app.world.time_us - begun) / SECOND_US
    return None


def blocks(holders: list[int]) -> Iterator[list[int]]:
    """The nearer ones, and the farther ones."""
    half = len(holders) // 2
    yield from (holders[:half], holders[half:])


def shuffled(holders: list[int]) -> Iterator[list[int]]:
    stream(len(holders), "halves").shuffle(holders)
    yield from blocks(holders)


@pytest.mark.parametrize(("seed", "halves"), [(3, blocks), (4, shuffled)])
def test_a_fork_across_disjoint_halves_is_found_within_two_periods(seed, halves):
    """Comparing alone takes a minute there, for all are at rest."""
    app = AppWorld(seed, 7)
    app.begin(app.world.nodes, 1)
    app.run(5 * GOSSIP_REST_US)
    forked(app, halves)
    assert found_after(app, 2 * GOSSIP_PERIOD_US) is not None


@pytest.mark.long
@pytest.mark.parametrize("passing", [True, False])
def test_how_long_a_fork_across_halves_stays_unseen(monkeypatch, passing):
    if not passing:
        monkeypatch.setattr(Passing, "published", lambda *_: None)
    found = []
    for seed in range(1, 21):
        app = AppWorld(seed, 7)
        app.begin(app.world.nodes, 1)
        app.run(5 * GOSSIP_REST_US)
        forked(app, shuffled)
        found.append(found_after(app, 20 * GOSSIP_REST_US))
    print("passing on" if passing else "comparing alone", sorted(found))
    assert passing is False or max(found) <= 2 * GOSSIP_PERIOD_US / SECOND_US
