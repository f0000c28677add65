"""Presences: a node's signed word that it is in an overlay and where it can be dialled.

Source: docs/wire.md, "/dms3/dht/1"; docs/architecture.md, "Overlays". Whoever names a node to
others hands on its presence, so nobody can name a node that does not exist or move one that does.
In a closed overlay a presence (version 2) also says who is behind the node, and proves that they
may be there: `admitting.py` judges it. A presence says nothing about whether the node is there now:
`routing.py` asks it.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import OverlayId, PeerId, Root
from dms3.core.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    PRESENCE_BYTES_MAX,
    PRESENCE_CLOSED_BYTES_MAX,
    PRESENCE_LIFE_US,
    PRESENCES_KEPT_MAX,
)
from dms3.core.overlay import LOCATION_BYTES, NodeAt
from dms3.core.verdict import Abandoned, Invalid, Verdict, in_date
from dms3.crypto.certificate import (
    Certificate,
    check_certificate,
    decode_certificate,
    is_node_peer_id,
)
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey, verify
from dms3.libp2p.multiaddr import Multiaddr
from dms3.libp2p.peer_id import NodeKey, id_work
from dms3.p2p.reach import Reach, reach_of

DOMAIN = b"presence"
VERSION, CLOSED = 1, 2
_SIZES = {VERSION: PRESENCE_BYTES_MAX, CLOSED: PRESENCE_CLOSED_BYTES_MAX}


@dataclass(frozen=True, slots=True)
class Presence:
    """`peer` is in `overlay` as `agent`, at `addresses`, from `since_us` until `until_us` (wall).

    `addresses`: multiaddrs as text, best first, without the peer id. The signature covers every
    other field. Version 2 is for closed overlays: `agent` is the member, a root, whose
    `certificate` (encoded) says that the node acts for them, and `proof` that they may be in; a
    node that cannot be reached shows it, too, and names no address. Version 1 has neither field.
    """

    v: int
    overlay: bytes
    agent: bytes
    peer: bytes
    addresses: tuple[str, ...]
    since_us: int
    until_us: int
    signature: bytes
    certificate: bytes = b""
    proof: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        need(self.v in _SIZES, f"presence version {self.v} is not known")
        is_closed = self.v == CLOSED
        need(is_closed == bool(self.certificate), "a closed overlay asks for a certificate")
        need(is_closed or not self.proof, "an open overlay asks for no proof")
        need(bool(self.agent) or not is_closed, "a closed overlay asks for a member")
        need(bool(self.addresses) or is_closed, "it names no address")
        need(len(self.overlay) == LOCATION_BYTES, "an overlay has 32 bytes")
        need(len(self.agent) in (0, PUBLIC_BYTES), "an agent has 32 bytes, or is nobody")
        need(is_node_peer_id(self.peer), "the peer id is not one of an Ed25519 key")
        need(len(self.addresses) <= ADDRESSES_PER_PEER_MAX, "too many addresses")
        longest = max(map(len, self.addresses), default=0)
        need(longest <= ADDRESS_CHARS_MAX, "an address is too long")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "the dates are out of order")
        need(self.until_us - self.since_us <= PRESENCE_LIFE_US, "it would last too long")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class _Open:
    """The form of version 1."""

    v: int
    overlay: bytes
    agent: bytes
    peer: bytes
    addresses: tuple[str, ...]
    since_us: int
    until_us: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a node shows of its person in a closed overlay.

    `root`: the member; `certificate`: encoded, that the node acts for them; `proof`: that they may
    be in, b"" for who needs none; `until_us` (wall clock): one of them says nothing from then on.
    """

    root: Root
    certificate: bytes = field(repr=False)
    proof: bytes = field(repr=False)
    until_us: int


def issue_presence(
    key: NodeKey,
    overlay: OverlayId,
    addresses: Sequence[str],
    wall_us: int,
    ticket: Ticket | None = None,
) -> bytes:
    """The presence of the node with `key` from `wall_us` on, for PRESENCE_LIFE_US.

    Of `addresses` (at least one, but in a closed overlay) as many are named as fit, the first
    before the last. `ticket`: for a closed overlay; the presence ends with it.
    """
    signer = SigningKey.of_seed(key.seed)
    fit = [one for one in addresses if len(one) <= ADDRESS_CHARS_MAX][:ADDRESSES_PER_PEER_MAX]
    assert fit or ticket, "a presence names an address"
    version = VERSION if ticket is None else CLOSED
    until_us = wall_us + PRESENCE_LIFE_US
    shown = Ticket(Root(b""), b"", b"", until_us) if ticket is None else ticket
    until_us = min(until_us, shown.until_us)
    while True:
        bare = Presence(
            v=version,
            overlay=overlay,
            agent=shown.root,
            peer=key.peer_id,
            addresses=tuple(fit),
            since_us=min(wall_us, until_us - 1),
            until_us=until_us,
            signature=b"",
            certificate=shown.certificate,
            proof=shown.proof,
        )
        signature = signer.sign(DOMAIN, _bytes_of(bare))
        data = _bytes_of(dataclasses.replace(bare, signature=signature))
        if len(data) <= _SIZES[version]:
            return data
        fit.pop()


def _bytes_of(presence: Presence) -> bytes:
    """The one byte form of a presence of its version."""
    if presence.v == CLOSED:
        return encode(presence)
    names = [each.name for each in dataclasses.fields(_Open)]
    return encode(_Open(*(getattr(presence, name) for name in names)))


def decode_presence(data: bytes) -> Presence:
    """The presence in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, PRESENCE_CLOSED_BYTES_MAX, "a presence")
    presence = decode(Presence, data, strict=True)
    need_at_most(data, _SIZES[presence.v], "a presence of an open overlay")
    if not presence.signature:
        raise DecodeError(0, "the presence is not signed")
    if _bytes_of(presence) != data:
        raise DecodeError(0, "not the one byte form of this presence")
    return presence


def check_signature(presence: Presence) -> bool:
    """Whether the node itself has signed `presence`."""
    bare = dataclasses.replace(presence, signature=b"")
    return verify(_public_key(presence.peer), DOMAIN, _bytes_of(bare), presence.signature)


def check_dates(presence: Presence, wall_us: int) -> Verdict:
    """Valid while `presence` is in date at `wall_us`, otherwise Abandoned."""
    return in_date(presence.since_us, presence.until_us, wall_us)


def node_location(peer: PeerId) -> bytes:
    """Where a node lies: SHA-256 of its raw public key (32 bytes)."""
    return hashlib.sha256(_public_key(peer)).digest()


@dataclass(frozen=True, slots=True, eq=False)
class Proven:
    """A presence whose signature holds, with what follows from it.

    `data`: its bytes; `at`: the node's location as a number; `work`: the bits its peer id cost;
    `reaches`: of each of its addresses, None for one that is not dialled: a name, or no TCP;
    `nodes`: what `node` returns; `certificate`: of version 2, signed by the member, whose dates
    were not looked at.
    """

    presence: Presence
    data: bytes
    at: int
    work: int
    reaches: tuple[Reach | None, ...]
    nodes: Mapping[Reach, NodeAt | None]
    certificate: Certificate | None = None

    @property
    def peer(self) -> PeerId:
        """The node."""
        return PeerId(self.presence.peer)

    def node(self, near: Reach) -> NodeAt | None:
        """The node with what may be dialled of its addresses when heard on a connection of `near`.

        None when there is nothing: who is far away does not know what is near.
        """
        return self.nodes[near]

    def owes_work(self, bits: int) -> bool:
        """Whether it says that it can be reached everywhere, and its key has not cost `bits`."""
        return self.work < bits and Reach.EVERYWHERE in self.reaches


@dataclass(slots=True)
class Verified:
    """Presences whose signatures hold, so that each is checked once; the newest are kept."""

    kept_max: int = PRESENCES_KEPT_MAX
    _known: dict[bytes, Proven] = field(default_factory=dict)

    def open(self, data: bytes, overlay: OverlayId, wall_us: int) -> Proven | Invalid | Abandoned:
        """The presence in `data` when it is one of `overlay` and in date, or why not."""
        try:
            proven = self.remembered(data)
        except DecodeError as error:
            return Invalid("form", error.reason)
        if proven.presence.overlay != overlay:
            return Invalid("overlay", "the presence is of another overlay")
        verdict = check_dates(proven.presence, wall_us)
        return verdict if isinstance(verdict, Abandoned) else proven

    def of_peer(
        self, data: bytes, peer: PeerId, overlay: OverlayId, wall_us: int
    ) -> Proven | Invalid | Abandoned:
        """As `open`, for the presence that `peer` shows of itself."""
        proven = self.open(data, overlay, wall_us)
        if isinstance(proven, Proven) and proven.peer != peer:
            return Invalid("peer", "the presence is another node's")
        return proven

    def remembered(self, data: bytes) -> Proven:
        """The presence in `data`, of any overlay and date; DecodeError when it does not hold."""
        proven = self._known.get(data)
        if proven is None:
            proven = _prove(data)
            if len(self._known) >= self.kept_max:
                del self._known[next(iter(self._known))]
            self._known[data] = proven
        return proven


class Standing:
    """What this node says of itself: its presence in each of its overlays, renewed in time.

    `member`: whether it takes part; otherwise, and while it cannot be reached, it says nothing in
    open overlays, and in closed ones only who it is.
    """

    def __init__(self, key: NodeKey, *, member: bool) -> None:
        self._key = key
        self._member = member
        self._addresses: tuple[str, ...] = ()
        self._tickets: dict[OverlayId, tuple[Ticket, bool]] = {}
        self._issued: dict[OverlayId, tuple[int, bytes]] = {}

    @property
    def is_member(self) -> bool:
        """Whether others may ask this node."""
        return self._member and bool(self._addresses)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where this node can be reached, best first."""
        return self._addresses

    def listening(self, addresses: Sequence[str]) -> None:
        """This node can be reached at `addresses` (multiaddrs as text), best first."""
        fit = tuple(one for one in addresses if 0 < len(one) <= ADDRESS_CHARS_MAX)
        if fit != self._addresses:
            self._addresses = fit
            self._issued.clear()

    def enter(self, overlay: OverlayId, ticket: Ticket, *, local: bool) -> None:
        """Show `ticket` in a closed overlay; `local`: say nothing there of addresses far away."""
        self._tickets[overlay] = (ticket, local)
        self._issued.pop(overlay, None)

    def leave(self, overlay: OverlayId) -> None:
        """Say nothing more there."""
        self._tickets.pop(overlay, None)
        self._issued.pop(overlay, None)

    def presence(self, overlay: OverlayId, wall_us: int) -> bytes:
        """The presence to show at `wall_us`; b"" when this node is no member."""
        ticket, local = self._tickets.get(overlay, (None, False))
        if ticket is None and not self.is_member:
            return b""
        since_us, data = self._issued.get(overlay, (0, b""))
        age_us = wall_us - since_us
        if not data or not 0 <= age_us < PRESENCE_LIFE_US // 2:  # old, or the clock went back
            shown = self._addresses if self._member else ()
            near = [each for each in shown if not local or is_local(each)]
            data = issue_presence(self._key, overlay, near, wall_us, ticket)
            self._issued[overlay] = (wall_us, data)
        return data


def is_local(address: str) -> bool:
    """Whether multiaddr `address` is a number of this machine or of a private network."""
    reach = _reach(address)
    return reach is not None and reach is not Reach.EVERYWHERE


def _prove(data: bytes) -> Proven:
    presence = decode_presence(data)
    if not check_signature(presence):
        raise DecodeError(0, "the presence is not signed by its node")
    peer = PeerId(presence.peer)
    at = int.from_bytes(node_location(peer), "big")
    work = id_work(_public_key(peer))
    reaches = tuple(map(_reach, presence.addresses))
    nodes = {near: _node(presence, reaches, near) for near in Reach}
    certificate = _certificate(presence) if presence.v == CLOSED else None
    return Proven(presence, data, at, work, reaches, nodes, certificate)


def _certificate(presence: Presence) -> Certificate:
    """The certificate of a closed presence, if its member has signed it; raises DecodeError."""
    found = decode_certificate(presence.certificate)
    try:
        check_certificate(found, Root(presence.agent), PeerId(presence.peer), found.since_us)
    except Dms3Error as error:
        raise DecodeError(0, error.message) from error
    if presence.until_us > found.until_us:
        raise DecodeError(0, "the presence outlasts its certificate")
    return found


def _node(presence: Presence, reaches: tuple[Reach | None, ...], near: Reach) -> NodeAt | None:
    pairs = zip(presence.addresses, reaches, strict=True)
    addresses = tuple(text for text, far in pairs if far is not None and far >= near)
    return NodeAt(PeerId(presence.peer), addresses) if addresses else None


def _reach(address: str) -> Reach | None:
    try:
        return reach_of(Multiaddr.parse(address))
    except DecodeError:
        return None


def _public_key(peer: bytes) -> bytes:
    """The raw key in the peer id of an Ed25519 key."""
    assert is_node_peer_id(peer), "not the peer id of an Ed25519 key"
    return peer[-PUBLIC_BYTES:]
