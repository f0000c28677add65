"""Closed overlays at the door: whose presence is believed, who is answered, who is put out.

Source: IPS paper, outer membranes; docs/networks.md; docs/attacks.md, "At a closed overlay".
A presence of a closed overlay is judged by its membrane (`chain/membrane.py`) before it reaches a
table or a lookup; who has shown none gets one named refusal and is told nothing. Part of machine
"dht".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from dms3.chain.membrane import (
    DATES,
    Immune,
    Membrane,
    Open,
    Ports,
    Stake,
    Who,
    check,
    membrane_of,
    proof_end_us,
)
from dms3.core.admission import NOT_ADMITTED, STRANGER, Admission, Heeded
from dms3.core.errors import DecodeError, Dms3Error, Failure
from dms3.core.ids import OverlayId, PeerId, Root
from dms3.core.limits import MEMBERS_ADMITTED_MAX, PRESENCES_KEPT_MAX
from dms3.core.overlay import JoinOverlay, NodeAt
from dms3.core.verdict import Abandoned, Invalid
from dms3.crypto.certificate import decode_certificate
from dms3.dht.presence import CLOSED, Presence, Proven, Ticket, Verified, is_local

_WARRANTED = "membrane-warranted"
_STAKE = "membrane-stake"
_UNBLAMED = (*DATES, _WARRANTED, _STAKE)  # what another node may see otherwise and be right
_FAR = Invalid("membrane-lan", "it is for a local network, and names an address outside")


@dataclass(slots=True)
class _Closed:
    """A closed overlay: its membrane, and whom to ask there unasked.

    `own`: this node's person. `hidden`: its members show themselves to nobody who may not be one:
    only `nodes` are asked. `shown`: whose nodes have shown themselves on an open connection.
    `away`: nodes that have turned this one away because of warrants.
    """

    membrane: Membrane
    own: Root
    hidden: bool
    local: bool
    nodes: frozenset[PeerId]
    shown: dict[PeerId, Root] = field(default_factory=dict)
    away: dict[PeerId, None] = field(default_factory=dict)
    judged: dict[bytes, Invalid | None] = field(default_factory=dict)


class Door:
    """The membranes of this node's overlays over `verified`, whose methods it has.

    `admission`: told of who is admitted; it says who is warned of.
    """

    def __init__(self, verified: Verified, admission: Admission) -> None:
        self._verified = verified
        self._admission = admission
        self._ports = Ports(self._warrants, admission.staked)
        self._closed: dict[OverlayId, _Closed] = {}
        self._newcomers: dict[tuple[tuple[bytes, ...], Root], None] = {}

    # Overlays come and go

    def join(self, asked: JoinOverlay, wall_us: int) -> Ticket | None:
        """Close the door of an overlay that is closed: what this node shows there, else None.

        Raises `argument_invalid` for what is no membrane, `not_admitted` when the node's own proof
        opens nothing.
        """
        try:
            membrane = membrane_of(asked.membrane)
        except ValueError as error:
            raise Dms3Error("argument_invalid", f"This is no membrane: {error}.") from error
        if isinstance(membrane, Open) and not (asked.secret or asked.local):
            return None
        ticket = _ticket(asked)
        verdict = check(
            membrane, asked.overlay, Who(ticket.root), ticket.proof, wall_us, self._ports
        )
        if isinstance(verdict, Invalid):
            why = f"This node may not be there ({verdict.rule}): {verdict.detail}."
            raise Dms3Error(NOT_ADMITTED, why, hint="Ask for an invitation to this overlay.")
        nodes = frozenset(node.peer for node in asked.nodes)
        before = self._closed.get(asked.overlay)
        made = _Closed(membrane, ticket.root, bool(asked.secret), asked.local, nodes)
        made.shown = {} if before is None else before.shown
        self._closed[asked.overlay] = made
        self._admission.close(asked.overlay)
        if isinstance(membrane, Immune):
            apps = membrane.apps or (asked.overlay,)
            self._admission.heed(asked.overlay, Heeded(apps, membrane.by, ticket.root))
        return ticket

    def leave(self, overlay: OverlayId) -> None:
        """This node is in `overlay` no more."""
        self._closed.pop(overlay, None)
        self._admission.leave(overlay)

    # Presences, as `Verified` has them

    def open(self, data: bytes, overlay: OverlayId, wall_us: int) -> Proven | Invalid | Abandoned:
        """The presence in `data` when it is one of `overlay`, in date, and of a member; or why not.

        Invalid by a rule `membrane-...`: the node is what it says, and may not be there.
        """
        return self._judge(self._verified.open(data, overlay, wall_us), overlay, wall_us)

    def of_peer(
        self, data: bytes, peer: PeerId, overlay: OverlayId, wall_us: int
    ) -> Proven | Invalid | Abandoned:
        """As `open`, for the presence that `peer` shows of itself: it is admitted by that."""
        found = self._verified.of_peer(data, peer, overlay, wall_us)
        closed = self._closed.get(overlay)
        if closed is not None and isinstance(found, Proven):
            self._meets(overlay, closed, peer, Root(found.presence.agent))
            closed.away.pop(peer, None)
        found = self._judge(found, overlay, wall_us)
        if isinstance(found, Proven):
            self._admission.admit(overlay, peer, found.presence.until_us)
        else:
            self._admission.expel(overlay, peer)
        return found

    def remembered(self, data: bytes) -> Proven:
        """The presence in `data`, of any overlay and date; DecodeError when it does not hold."""
        return self._verified.remembered(data)

    # Questions

    def refusal(
        self, peer: PeerId, overlay: OverlayId, address: str, wall_us: int
    ) -> Failure | None:
        """Why `peer`, at remote `address`, is told nothing of `overlay`; None: it may ask."""
        closed = self._closed.get(overlay)
        if closed is None:
            return None
        if closed.local and not is_local(address):
            return Failure(NOT_ADMITTED, "This overlay is of a local network: ask from there.")
        if self._admission.admits(overlay, peer, wall_us):
            return None
        root = closed.shown.get(peer)
        wrong = None if root is None else self.bars(overlay, root)
        return STRANGER if wrong is None else refused(wrong)

    # Whom warrants put out, or whose stake has gone

    def bars(self, overlay: OverlayId, root: bytes) -> Invalid | None:
        """What keeps the person `root` out of `overlay`, whatever they show: warrants, no stake."""
        closed = self._closed.get(overlay)
        if closed is None or not isinstance(closed.membrane, Immune | Stake):
            return None
        verdict = check(closed.membrane, overlay, Who(root), b"", 0, self._ports)
        return verdict if isinstance(verdict, Invalid) else None

    def apps(self, overlay: OverlayId) -> tuple[OverlayId, ...]:
        """The apps whose warrants count for who is in an overlay."""
        return self._admission.apps(overlay)

    def _meets(self, overlay: OverlayId, closed: _Closed, peer: PeerId, root: Root) -> None:
        """A node has shown whose it is: what was said of them is to be looked up."""
        if peer not in closed.shown:
            if len(closed.shown) >= MEMBERS_ADMITTED_MAX:
                oldest = next(iter(closed.shown))
                del closed.shown[oldest]
                self._admission.expel(overlay, oldest)  # whom warrants would not find any more
            if isinstance(closed.membrane, Immune) and len(self._newcomers) < MEMBERS_ADMITTED_MAX:
                self._newcomers[closed.membrane.apps or (overlay,), root] = None
        closed.shown[peer] = root

    def newcomers(self) -> list[tuple[tuple[bytes, ...], Root]]:
        """Who has come since the last time, and the apps in which they may have been warned of."""
        found, self._newcomers = list(self._newcomers), {}
        return found

    def put_out(self, overlay: OverlayId) -> None:
        """Look again at whose nodes are admitted."""
        closed = self._closed.get(overlay)
        for peer, root in [] if closed is None else closed.shown.items():
            if self.bars(overlay, root) is not None:
                self._admission.expel(overlay, peer)

    def turned_away(self, overlay: OverlayId, peer: PeerId, why: str) -> None:
        """`peer` has refused this node, in words that name the rule."""
        closed = self._closed.get(overlay)
        if closed is not None and _WARRANTED in why and len(closed.away) < MEMBERS_ADMITTED_MAX:
            closed.away[peer] = None

    def own_fault(self, overlay: OverlayId, known: Iterable[PeerId]) -> str:
        """What keeps this node's own person out of an overlay that it has joined; "": nothing.

        As this node has heard, or as most of its nodes say; `known`: those in the table.
        """
        closed = self._closed.get(overlay)
        if closed is None:
            return ""
        wrong = self.bars(overlay, closed.own)
        if wrong is not None:
            return refused(wrong).message
        if 2 * len(closed.away) <= len({*closed.away, *known}):
            return ""
        say = (
            "1 node there says" if len(closed.away) == 1 else f"{len(closed.away)} nodes there say"
        )
        return f"{say} that you may not be in it any more ({_WARRANTED})."

    # Small parts

    def is_closed(self, overlay: OverlayId) -> bool:
        """Whether its members have to prove that they are."""
        return overlay in self._closed

    def may_meet(self, overlay: OverlayId, node: NodeAt, wall_us: int) -> bool:
        """Whether to ask `node`, who is connected, if it is in `overlay`: it learns that we are."""
        closed = self._closed.get(overlay)
        if closed is None:
            return True
        if closed.local:
            return any(map(is_local, node.addresses))
        known = node.peer in closed.nodes or self._admission.admits(overlay, node.peer, wall_us)
        return known or not closed.hidden

    def _warrants(self, apps: tuple[bytes, ...], who: Who, by: tuple[bytes, ...]) -> int:
        return self._admission.warrants(apps, who, by)  # set after this was made

    def _judge(
        self, found: Proven | Invalid | Abandoned, overlay: OverlayId, wall_us: int
    ) -> Proven | Invalid | Abandoned:
        if not isinstance(found, Proven):
            return found
        presence, closed = found.presence, self._closed.get(overlay)
        if closed is None:
            wrong = Invalid("form", "this overlay asks for no proof") if presence.proof else None
            return wrong or found
        wrong = self._wrong(closed, found, wall_us)
        if wrong is not None and wrong.rule in _UNBLAMED:
            return Abandoned(wrong.detail)
        return wrong or found

    def _wrong(self, closed: _Closed, proven: Proven, wall_us: int) -> Invalid | None:
        """What the membrane has against a presence; looked at once, unless that may change."""
        if proven.data in closed.judged and not isinstance(closed.membrane, Immune | Stake):
            return closed.judged[proven.data]
        wrong = _form(proven.presence, local=closed.local) or self._checked(
            closed, proven.presence, wall_us
        )
        if wrong is None or wrong.rule not in DATES:
            if len(closed.judged) >= PRESENCES_KEPT_MAX:
                del closed.judged[next(iter(closed.judged))]
            closed.judged[proven.data] = wrong
        return wrong

    def _checked(self, closed: _Closed, presence: Presence, wall_us: int) -> Invalid | None:
        who, overlay = Who(presence.agent), OverlayId(presence.overlay)
        verdict = check(closed.membrane, overlay, who, presence.proof, wall_us, self._ports)
        return verdict if isinstance(verdict, Invalid) else None


def refused(wrong: Invalid) -> Failure:
    """What somebody is told who may not be in, by the name of the rule."""
    why = f"You may not be in this overlay ({wrong.rule}): {wrong.detail}."
    return Failure(NOT_ADMITTED, why)


def _form(presence: Presence, *, local: bool) -> Invalid | None:
    if presence.v != CLOSED:
        return Invalid("membrane-missing", "it does not say who is behind the node")
    end_us = proof_end_us(presence.proof)
    if end_us is not None and presence.until_us > end_us:
        return Invalid("membrane-form", "the presence outlasts its proof")
    return _FAR if local and not all(map(is_local, presence.addresses)) else None


def _ticket(asked: JoinOverlay) -> Ticket:
    """What this node shows; raises `argument_invalid` when it cannot say whose node it is."""
    try:
        certificate = decode_certificate(asked.certificate)
    except DecodeError as error:
        why = "A closed overlay asks for a certificate of the node."
        raise Dms3Error("argument_invalid", why) from error
    ends = [certificate.until_us, proof_end_us(asked.proof) or certificate.until_us]
    return Ticket(Root(certificate.root), asked.certificate, asked.proof, min(ends))
