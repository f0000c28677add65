"""The network as notary: every party's action is shown to those who hold the session's entry.

Source: IPS paper, appendix C; docs/chains.md, "Countersigning". Whoever has all actions shows all
of them, so it does not matter whose node is on. Receipts say what is held; how many are enough is
the rule of publishing (`holding.py`). Keeps nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from dms3.chain.action import SignedAction
from dms3.chain.messages import PROTOCOL
from dms3.chain.ops import bases_of, ops_of
from dms3.core.ids import OverlayId, PeerId
from dms3.core.overlay import Asked, AskNear, location
from dms3.source.flows import Ask, Flow, answer_or_raise
from dms3.source.holding import Need, OpRow, Round, after_round, with_signers
from dms3.source.parcels import Parcel, filled, outcome_of, place_of


@dataclass(frozen=True, slots=True)
class Shown:
    """What is to be held: actions with one entry, in an app that needs `need`."""

    overlay: OverlayId
    actions: tuple[SignedAction, ...]
    entry: bytes
    need: Need


def show(shown: Shown, kinds: Sequence[str]) -> Flow[bool]:
    """Bring the ops of `kinds` of each action to the nodes near them; whether enough hold all.

    Raises what `dht.ask_near` does.
    """
    enough = True
    for basis, parcel in _parcels(shown, kinds):
        held = yield from _held(shown, parcel, basis)
        enough = enough and held
    return enough


def _parcels(shown: Shown, kinds: Sequence[str]) -> Iterator[tuple[bytes, Parcel]]:
    """A question for each place at which one of the ops lies."""
    places: dict[bytes, list[tuple[SignedAction, int]]] = {}
    for signed in shown.actions:
        for index, (kind, basis) in enumerate(bases_of(signed)):
            if kind in kinds:
                places.setdefault(basis, []).append((signed, index))
    for basis, ops in places.items():
        found = (
            place_of(signed.hash, index, ops_of(signed, shown.entry)[index])
            for signed, index in ops
        )
        for group in filled(found):
            yield basis, Parcel(shown.overlay, location(basis), shown.need.most, group)


def _held(shown: Shown, parcel: Parcel, basis: bytes) -> Flow[bool]:
    """Ask one question; whether enough have signed for each of its ops."""
    near = AskNear(parcel.overlay, parcel.target, parcel.count, PROTOCOL, parcel.body)
    asked: Asked = answer_or_raise((yield Ask("dht.ask_near", near)))
    outcome = outcome_of(parcel, asked)
    signers = tuple(sorted(set().union(*outcome.signers)))
    shares = yield Ask("peers.uptime", signers)
    uptimes: dict[PeerId, float] = (
        dict(zip(signers, shares, strict=True)) if isinstance(shares, tuple) else {}
    )
    round_ = Round(parcel.count, len(asked.answers), asked.members, settled=True)
    for number in range(len(parcel.places)):
        op = with_signers(OpRow("entry", basis), outcome.signers[number], uptimes)
        settled = replace(round_, settled=not outcome.open[number])
        if not after_round(op, settled, shown.need).enough:
            return False
    return True
