"""The books of a hop: who has a place here, which circuits there are, what they may cost.

Source: libp2p circuit relay v2 specification, "Hop protocol"; docs/wire.md, "Circuits". A place is
had by a connected peer for a while, renewed by asking again; a circuit leads to who has one. Opens
no streams and passes no bytes (io/transport_hop.py does).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.ids import PeerId
from dms3.core.limits import (
    CIRCUIT_BURST_US,
    CIRCUIT_BYTES_MAX,
    CIRCUIT_RATE_BYTES_MAX,
    CIRCUITS_OF_ONE_MAX,
    CIRCUITS_PASSED_MAX,
    HOP_QUESTIONS_BURST_MAX,
    HOP_QUESTIONS_LEAK_US,
    RESERVATION_US,
    RESERVATIONS_MAX,
    RESERVATIONS_PER_HOST_MAX,
    SECOND_US,
)
from dms3.core.machine import Now
from dms3.libp2p.circuit import Status
from dms3.p2p.conduct import Bucket


@dataclass(slots=True)
class Passed:
    """A circuit from `source` to `target`, and its bytes each way."""

    source: PeerId
    target: PeerId
    there: int = 0
    back: int = 0


@dataclass(slots=True)
class HopFigures:
    """What this hop did since its start; `refused`: questions by the name of their status.

    `ended`: circuits by why they ended.
    """

    circuits: int = 0
    bytes: int = 0
    refused: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)


class HopBooks:
    """Places and circuits of one hop; closed until `offered` is set."""

    def __init__(self) -> None:
        self.offered = False
        self.figures = HopFigures()
        self._places: dict[PeerId, tuple[int, str]] = {}  # until (monotonic), host
        self._circuits: dict[int, Passed] = {}
        self._asked: dict[PeerId, Bucket] = {}
        self._count = 0
        self._free_us = 0  # when all bytes so far have been passed at the greatest rate

    @property
    def circuits(self) -> int:
        """How many there are now."""
        return len(self._circuits)

    def places(self, now_us: int) -> int:
        """How many peers have a place here now."""
        self._forget_old(now_us)
        return len(self._places)

    def has_place(self, peer: PeerId, now_us: int) -> bool:
        """Whether `peer` has one."""
        return self._places.get(peer, (0, ""))[0] > now_us

    def is_used_by(self, peer: PeerId, now_us: int) -> bool:
        """Whether `peer` has a place here, or a circuit begins or ends at it."""
        ends = ((one.source, one.target) for one in self._circuits.values())
        return self.has_place(peer, now_us) or any(peer in pair for pair in ends)

    def is_paced(self, peer: PeerId, now_us: int) -> bool:
        """Whether `peer` may ask one thing more now; counts it when it may."""
        bucket = self._asked.setdefault(
            peer, Bucket(HOP_QUESTIONS_BURST_MAX, HOP_QUESTIONS_LEAK_US)
        )
        return bucket.admit(now_us)

    def reserve(self, peer: PeerId, host: str, now: Now) -> int | Status:
        """Unix seconds until which `peer`, who comes from `host`, has a place, or why not.

        `host`: its IP address, "" where many share one by nature.
        """
        if not self.offered:
            return Status.RESERVATION_REFUSED
        self._forget_old(now.mono_us)
        if peer not in self._places:
            same = sum(host == other for _, other in self._places.values()) if host else 0
            if len(self._places) >= RESERVATIONS_MAX or same >= RESERVATIONS_PER_HOST_MAX:
                return Status.RESERVATION_REFUSED
        self._places[peer] = now.mono_us + RESERVATION_US, host
        return (now.wall_us + RESERVATION_US) // SECOND_US

    def connect(self, source: PeerId, target: PeerId, now_us: int) -> int | Status:
        """The number of a new circuit, or why there is none."""
        if not self.has_place(target, now_us):
            return Status.NO_RESERVATION
        if source == target:
            return Status.PERMISSION_DENIED
        ends = [end for one in self._circuits.values() for end in (one.source, one.target)]
        crowded = max(ends.count(source), ends.count(target)) >= CIRCUITS_OF_ONE_MAX
        if crowded or len(self._circuits) >= CIRCUITS_PASSED_MAX:
            return Status.RESOURCE_LIMIT_EXCEEDED
        self._count += 1
        self._circuits[self._count] = Passed(source, target)
        return self._count

    def began(self) -> None:
        """A circuit is through."""
        self.figures.circuits += 1

    def passes(self, number: int, count: int, now_us: int, *, back: bool) -> int | None:
        """How long to wait after `count` more bytes of a circuit; None: they are too many.

        Waiting takes the bytes of all circuits together down to CIRCUIT_RATE_BYTES_MAX.
        """
        circuit = self._circuits.get(number)
        if circuit is None:
            return None
        if back:
            circuit.back += count
        else:
            circuit.there += count
        if max(circuit.there, circuit.back) > CIRCUIT_BYTES_MAX:
            return None
        self.figures.bytes += count
        took_us = count * SECOND_US // CIRCUIT_RATE_BYTES_MAX
        self._free_us = max(self._free_us, now_us - CIRCUIT_BURST_US) + took_us
        return max(0, self._free_us - now_us)

    def ended(self, number: int, why: str) -> None:
        """A circuit is over, for the reason `why`; nothing when it was before."""
        if self._circuits.pop(number, None) is not None:
            self.figures.ended[why] = self.figures.ended.get(why, 0) + 1

    def gone(self, peer: PeerId) -> None:
        """The connection to `peer` has closed: its place is free."""
        self._places.pop(peer, None)
        self._asked.pop(peer, None)

    def refused(self, status: Status) -> None:
        """A question was answered with `status`."""
        name = status.name.lower()
        self.figures.refused[name] = self.figures.refused.get(name, 0) + 1

    def _forget_old(self, now_us: int) -> None:
        over = [peer for peer, (until_us, _) in self._places.items() if until_us <= now_us]
        for peer in over:
            del self._places[peer]
