"""Several machines "validation" whose neighbours are each other, moved by hand."""

from collections.abc import Callable

from dms3.chain.messages import ChainQuestion
from dms3.chain.operations_validation import Record, RepairFigures
from dms3.core.errors import Failure
from dms3.core.ids import PeerId
from dms3.crypto.certificate import PEER_ID_PREFIX
from unit.chain.chain_kit import Chain, key
from unit.validation.validation_kit import OTHERS, PLAIN, Disk, Rig, begun, ops

SILENT = Failure("timed_out", "It does not answer.")


class House(Rig):
    """A node of a town; `asks` may change what it asks a neighbour, or answer in its place."""

    def __init__(self, number: int, disk: Disk | None = None) -> None:
        self.signing = key(200 + number)
        self.peer = PeerId(PEER_ID_PREFIX + self.signing.public)
        super().__init__(disk, PLAIN)

    def repair(self) -> RepairFigures:
        return self.call("figures", PLAIN.id).repair

    def holds(self, record: Record) -> bool:
        return self.state(record) == "integrated"


class Town:
    """`count` houses; `wires(source, target, question)` may answer for the target."""

    def __init__(self, count: int) -> None:
        self.houses = [House(number) for number in range(count)]
        self.of_peer = {house.peer: house for house in self.houses}
        self.wires: Callable[[House, House, ChainQuestion], bytes | Failure | None]
        self.wires = lambda *_: None
        self.questions: list[tuple[House, House, ChainQuestion]] = []
        for house in self.houses:
            house.around = [other.peer for other in self.houses if other is not house]
            house.partner = self._between(house)

    def go(self, seconds: float) -> None:
        """Let time pass for all, a little at a time."""
        for _ in range(round(seconds * 4)):
            for house in self.houses:
                house.go(0.25)

    def rejoin(self, number: int) -> House:
        """A house is built again over what lay on its disk."""
        old = self.houses[number]
        new = self.houses[number] = House(number, old.disk)
        new.now, new.around = old.now, old.around
        new.partner = self._between(new)
        self.of_peer[new.peer] = new
        return new

    def _between(self, source: House):
        def answer(peer: PeerId, question: ChainQuestion):
            target = self.of_peer.get(peer)
            if target is None:
                return SILENT
            self.questions.append((source, target, question))
            answered = self.wires(source, target, question)
            return target.ask(question, source.peer) if answered is None else answered

        return answer


def written(number: int = 1, count: int = 3) -> Chain:
    """The chain of somebody who has written so many notes."""
    chain = begun(PLAIN, number)
    for text in range(count):
        chain.create({"text": f"{number} {text}"}, "note")
    return chain


def given(rig: Rig, chain: Chain) -> None:
    """`rig` holds all of a chain."""
    some = ops(*chain.records)
    peer = OTHERS[chain.signing.public[0] % len(OTHERS)]
    for at in range(0, len(some), 60):
        assert set(rig.codes(*some[at : at + 60], peer=peer)) == {"held"}
