"""Sybils around a key: how many ids that lie nearer than every honest node hide what is there.

Source: docs/attacks.md, "Somebody in the public overlay" and its "Not prevented"; S/Kademlia
(Baumgart, Mies 2007). Ids are ground: keys are drawn until so many lie nearer. They are in tables
as honest nodes are: what that costs besides (work, network prefixes) is paid. Asked about their
key, they take what is put and keep nothing, and name nobody but each other; else they are honest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.core.limits import NEIGHBOURS_MAX, REPUT_US, SECOND_US, SIM_PRESENCES_KEPT_MAX
from dms3.core.machine import Entropy
from dms3.core.overlay import HOLDERS_MIN, PUBLIC, Content, GetContent, Got, PutContent, location
from dms3.dht.presence import Verified, issue_presence, node_location
from dms3.libp2p.peer_id import NodeKey
from dms3.sim.bare import BareNode, BareWorld, Made
from dms3.sim.ground import Ground
from dms3.sim.liars import Sybil
from dms3.sim.places import address_of
from dms3.sim.scenarios.bare_members import bare_dht, peer_book
from dms3.sim.scenarios.notes import NOTE, Note, new_note, note_type
from dms3.sim.seeds import stream
from dms3.sim.statement import require
from dms3.sim.warm import warm, warm_held
from dms3.sim.world import WALL_START_US

COUNTS = (1, 4, 7, 8, 9, 12, 16, 24, NEIGHBOURS_MAX)
GETS = 10  # of each note
CHEAP_OF = 4  # of so many notes the attacker takes the one that is cheapest to surround
TRIES_MAX = 200  # notes that are drawn for that: few nodes have no room for so many sieges
PUT_US, GET_US, END_US = 2 * SECOND_US, 20 * SECOND_US, 60 * SECOND_US
KEPT, PUT = "kept", "put"
"""Whether a note lay with honest nodes before the Sybils came, or is put among them."""


@dataclass(slots=True)
class _Siege:
    """A note with `count` Sybils around it: their keys, and the gets of it that were right."""

    when: str
    count: int
    note: Note
    nearest: int  # the honest node nearest to it: how far
    keys: list[NodeKey] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)

    @property
    def at(self) -> int:
        """Where the note lies."""
        return _at(self.note)

    def touches(self, other: _Siege) -> bool:
        """Whether a node may be nearer to both notes than every honest one."""
        widest = max(self.nearest, other.nearest)
        return (self.at ^ other.at).bit_length() <= widest.bit_length()


class Surrounded:
    """An overlay of `honest` nodes, in which notes are surrounded by `counts` Sybils."""

    def __init__(self, seed: int, honest: int, counts: Sequence[int] = COUNTS) -> None:
        self._counts = counts
        self._seed = seed
        self._honest = honest
        self._random = stream(seed, "siege")
        self._verified = Verified(SIM_PRESENCES_KEPT_MAX)
        self._crowds: dict[int, tuple[bytes, list[bytes]]] = {}  # of each Sybil: key, presences
        self.drawn = 0

    def besiege(self) -> dict[str, Any]:
        """Figures; raises ViolationError when fewer than HOLDERS_MIN Sybils hide a note."""
        count = self._honest + 2 * sum(self._counts)  # the last ones stay off if there is no room
        ports = {"peers": peer_book, "library": peer_book}
        world = BareWorld(self._seed, count, self._machines, ports)
        honest = world.nodes[: self._honest]
        places = [_place(node.peer) for node in honest]
        ground = Ground(places, [1.0] * len(places))
        sieges: list[_Siege] = []
        for each in self._counts:
            for when in (KEPT, PUT):
                sieges += self._chosen(ground, when, each, sieges)
        self._grind(sieges)
        self._settle(world, sieges)
        there = honest + [node for node in world.nodes if node.index in self._crowds]
        warm(self._seed, there, self._verified)
        self._deal(there, [siege for siege in sieges if siege.when == KEPT])
        for node in there:
            world.start(node)
        for siege in sieges:
            self._visit(world, honest, siege)
        world.run(END_US)
        return self._figures(sieges) | {"sybils": len(self._crowds), "sybils_drawn": self.drawn}

    def _deal(self, there: Sequence[BareNode], kept: Sequence[_Siege]) -> None:
        """Notes that lay here before lie with those who were the nearest before."""
        ground = Ground([_place(node.peer) for node in there], [1.0] * len(there))
        at = {node.peer: position for position, node in enumerate(there)}
        dealt = []
        for siege in kept:
            crowd = {at[key.peer_id] for key in siege.keys}
            dealt.append(ground.holders(siege.at, crowd))
        contents = [(siege.note.key, siege.note.value) for siege in kept]
        warm_held(there, note_type(), contents, dealt)

    def _machines(self, node: BareNode, entropy: Entropy) -> Sequence[Made]:
        name, dht, protocols = bare_dht(node, entropy, self._verified, REPUT_US)
        crowd = self._crowds.get(node.index)
        return [(name, dht if crowd is None else Sybil(dht, *crowd), protocols)]

    def _chosen(
        self, ground: Ground, when: str, count: int, others: Sequence[_Siege]
    ) -> list[_Siege]:
        """A note with much room around it, that touches no other's; none when there is no room."""
        found: list[_Siege] = []
        for _ in range(TRIES_MAX):
            note = new_note(self._random)
            room = ground.places[ground.nearest(_at(note), 1)[0]] ^ _at(note)
            siege = _Siege(when, count, note, room)
            if not any(siege.touches(each) for each in others):
                found.append(siege)
            if len(found) == CHEAP_OF:
                break
        return sorted(found, key=lambda each: -each.nearest)[:1]

    def _grind(self, sieges: Sequence[_Siege]) -> None:
        """Draw keys until each note has its Sybils, and those of no other note so near."""
        while any(len(each.keys) < each.count for each in sieges):
            self.drawn += 1
            key = NodeKey(self._random.randbytes(32))
            place = _place(key.peer_id)
            near = [each for each in sieges if place ^ each.at < each.nearest]
            if len(near) == 1 and len(near[0].keys) < near[0].count:
                near[0].keys.append(key)

    def _settle(self, world: BareWorld, sieges: Sequence[_Siege]) -> None:
        """Give the ground keys to the last nodes of the world."""
        free = iter(world.nodes[self._honest :])
        for siege in sieges:
            taken = [next(free) for _ in siege.keys]
            for node, key in zip(taken, siege.keys, strict=True):
                del world.index_of[node.peer]
                node.key, node.peer = key, key.peer_id
                world.index_of[node.peer] = node.index
            crowd = [
                issue_presence(node.key, PUBLIC, (address_of(node.index),), WALL_START_US)
                for node in taken
            ]
            for node in taken:
                self._crowds[node.index] = siege.note.key, crowd

    def _visit(self, world: BareWorld, honest: Sequence[BareNode], siege: _Siege) -> None:
        """An honest node puts the note if nobody has; others get it later."""
        note = siege.note
        if siege.when == PUT:
            content = Content(NOTE, note.key, note.value)
            put = PutContent(PUBLIC, (content,))
            world.at(PUT_US, world.call, self._random.choice(honest), "dht.put", put, _nothing)

        def done(body: Got | Failure) -> None:
            siege.right.append(isinstance(body, Got) and note.value in body.values)

        get = GetContent(PUBLIC, NOTE, note.key)
        for number in range(GETS):
            at_us = GET_US + number * SECOND_US
            world.at(at_us, world.call, self._random.choice(honest), "dht.get", get, done)

    def _figures(self, sieges: Sequence[_Siege]) -> dict[str, Any]:
        """Which part of the gets was right, by the number of Sybils; how many hid it from all."""
        figures: dict[str, Any] = {}
        for when in (KEPT, PUT):
            parts = {each.count: sum(each.right) / GETS for each in sieges if each.when == when}
            hidden = [count for count, part in parts.items() if not part]
            figures[f"{when}_found"] = {str(count): part for count, part in parts.items()}
            figures[f"{when}_hidden_by"] = min(hidden, default=None)
            for count, part in parts.items():
                away = 1 - part if count < HOLDERS_MIN else 0
                require(not away, f"{count} Sybils hide a note from {away:.0%}")
        return figures


def _at(note: Note) -> int:
    return int.from_bytes(location(note.key), "big")


def _place(peer: PeerId) -> int:
    return int.from_bytes(node_location(peer), "big")


def _nothing(_answer: Any) -> None:
    """What is done with an answer that nobody waits for."""
