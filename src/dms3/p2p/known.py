"""Known peers: where each was last seen, whether it is connected, how it behaves; bounded.

Source: docs/architecture.md, "Errors" (blame) and docs/wire.md, "Conduct". Plain state over the
table "known" of the peer book. Scores live in memory, a refusal is kept across restarts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from dms3.core.codec import decode, encode
from dms3.core.errors import Dms3Error, Failure
from dms3.core.ids import PeerId
from dms3.core.limits import (
    ABSENCE_BACK_US_MAX,
    ABSENCE_US_MAX,
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    PEERS_KNOWN_MAX,
    REFUSE_US,
    UPTIME_NEWCOMER_PPM,
)
from dms3.core.machine import Delete, Effect, Now, Persist, View, scan
from dms3.libp2p.peer_record import ForgedRecordError, PeerRecord, open_record
from dms3.p2p.conduct import CONDUCT, Score
from dms3.p2p.contacts import Contact
from dms3.p2p.faults import Faults
from dms3.p2p.port import Introduced
from dms3.p2p.reach import Reach, own_word, reach_of_text
from dms3.p2p.uptime import Metric

TABLE = "known"
PUBLIC_PROTOCOL = "/dms3/dht/1"  # who speaks it takes part in what is public, and is known to be


@dataclass(frozen=True, slots=True)
class Known:
    """What is kept of a peer; times are wall microseconds, 0: never.

    `sequence`: of its last signed record, 0 before there was one. `found`: how it came to be known,
    "inbound", "lan", "exchange" or "person"; "" when another part of this node dialled it.
    `uptime_ppm`: how much of the time it is there, in millionths, and `sure_ppm` how sure that is;
    `looked_us`: last looked at; `away`: it was not there then.
    """

    peer: bytes
    addresses: tuple[str, ...]
    seen_us: int
    refused_until_us: int = 0
    sequence: int = 0
    found: str = ""
    uptime_ppm: int = UPTIME_NEWCOMER_PPM
    looked_us: int = 0
    sure_ppm: int = 0
    away: bool = False

    @property
    def metric(self) -> Metric:
        """The experience of it."""
        return Metric(self.uptime_ppm, self.sure_ppm)


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One line of `peer list`: `problem` is the last thing that went wrong with this peer.

    `rtt_us`: the last round trip of a probe, None before there was one. `points`: misconduct.
    `found`: "contact", "bootstrap", "lan", "exchange", "inbound", "person" or "dht".
    """

    peer: PeerId
    name: str | None
    root: bytes | None
    connected: bool
    inbound: bool
    address: str
    addresses: tuple[str, ...]
    seen_us: int
    points: int
    refused_until_us: int
    rtt_us: int | None
    problem: Failure | None
    found: str


@dataclass(slots=True)
class _Session:
    """What is known of a peer since the node started."""

    score: Score = field(default_factory=Score)
    address: str = ""
    counted_us: int = 0  # monotonic: up to when its being there is in its row
    inbound: bool = False
    rtt_us: int | None = None  # of this connection
    problem: Failure | None = None
    public: bool = False  # it speaks PUBLIC_PROTOCOL
    record: tuple[bytes, PeerRecord] | None = None  # its signed record, as it came and opened


class KnownPeers:
    """All known peers; `up` maps the connected ones to the monotonic instant of their PeerUp."""

    def __init__(self) -> None:
        self.up: dict[PeerId, int] = {}
        self.faults = Faults()
        self._rows: dict[PeerId, Known] = {}
        self._sessions: dict[PeerId, _Session] = {}

    def load(self, view: View) -> list[Effect]:
        """Read the committed rows; effects that delete those beyond the bound (oldest first)."""
        rows = [decode(Known, value) for _, value in scan(view, TABLE)]
        rows.sort(key=lambda row: (-row.seen_us, row.peer))
        for row in rows[:PEERS_KNOWN_MAX]:
            self._rows[PeerId(row.peer)] = row
        return [Delete(TABLE, row.peer) for row in rows[PEERS_KNOWN_MAX:]]

    def on_up(
        self,
        peer: PeerId,
        address: str,
        now: Now,
        *,
        inbound: bool,
        keep: Callable[[PeerId], bool],
    ) -> list[Effect]:
        """The peer is connected; `keep` says which rows may not be evicted to make room."""
        self.up[peer] = now.mono_us
        session = self._session(peer)
        session.address, session.inbound, session.rtt_us = address, inbound, None
        session.counted_us = now.mono_us
        session.problem, session.public, session.record = None, False, None
        effects: list[Effect] = []
        row = self._rows.get(peer)
        if row is None:
            effects += self._evict(keep)
            row = Known(peer, (), 0, found="inbound" if inbound else "")
        addresses = row.addresses if inbound else _merge((address,), row.addresses)
        metric = row.metric
        if row.looked_us:
            most = ABSENCE_BACK_US_MAX if row.away else ABSENCE_US_MAX
            metric, gap_us = self._since(row, most, now)
            metric = metric.away(gap_us) if row.away else metric.there(gap_us)
        row = replace(row, addresses=addresses, seen_us=now.wall_us)
        return [*effects, self._look(row, metric, now, away=False)]

    def on_down(self, peer: PeerId) -> int | None:
        """The peer has gone; the monotonic instant at which it came."""
        if peer not in self._rows:
            self._sessions.pop(peer, None)
        return self.up.pop(peer, None)

    # Uptime

    def was_there(self, peer: PeerId, now: Now) -> list[Effect]:
        """A connection to `peer` was there until now."""
        row = self._rows.get(peer)
        if row is None:
            return []
        session = self._session(peer)
        metric = row.metric.there(now.mono_us - session.counted_us)
        session.counted_us = now.mono_us
        return [self._look(row, metric, now, away=False)]

    def are_there(self, now: Now) -> list[Effect]:
        """The connected peers are there."""
        return [effect for peer in sorted(self.up) for effect in self.was_there(peer, now)]

    def was_away(self, peer: PeerId, now: Now) -> list[Effect]:
        """`peer` could not be reached, and that is not this node's fault."""
        row = self._rows.get(peer)
        if row is None or peer in self.up:
            return []
        metric, gap_us = self._since(row, ABSENCE_US_MAX, now)
        return [self._look(row, metric.away(gap_us), now, away=True)]

    def is_away(self, peer: PeerId) -> bool:
        """Whether `peer` was not there at the last look, or was never looked at."""
        row = self._rows.get(peer)
        return row is None or row.away or not row.looked_us

    def looked(self, peer: PeerId) -> tuple[int, bool]:
        """When `peer` was looked at last (wall, 0: never), and whether it was away then."""
        row = self._rows.get(peer)
        return (0, False) if row is None else (row.looked_us, row.away)

    def metric(self, peer: PeerId, now: Now) -> Metric:
        """How much of the time `peer` is there as seen from here, the present connection counted.

        What nobody has looked at for long is less sure.
        """
        row = self._rows.get(peer)
        if row is None:
            return Metric()
        if peer in self.up:
            return row.metric.there(now.mono_us - self._session(peer).counted_us)
        return row.metric.unseen(now.wall_us - row.looked_us)

    def _since(self, row: Known, most_us: int, now: Now) -> tuple[Metric, int]:
        """What is known at the beginning of the time that a look speaks of, and that time.

        It is `most_us` at most, and none in which this node's own network was at fault.
        """
        gap_us = max(0, now.wall_us - max(row.looked_us, self.faults.sound_us))
        gap_us = min(gap_us, most_us)
        return row.metric.unseen(now.wall_us - row.looked_us - gap_us), gap_us

    def _look(self, row: Known, metric: Metric, now: Now, *, away: bool) -> Persist:
        return self._put(
            replace(
                row,
                uptime_ppm=metric.value,
                sure_ppm=metric.sure,
                looked_us=now.wall_us,
                away=away,
            )
        )

    def introduced(self, told: Introduced) -> list[Effect]:
        """A connected peer says where it listens; its word is believed as far as a dial goes.

        A signed record newer than the last one replaces what is kept, but for the address that this
        connection has proven; an older one changes nothing. Without any record, addresses are
        added. Raises DecodeError for a record that is not its own.
        """
        row = self._rows.get(told.peer)
        if row is None or told.peer not in self.up:
            return []
        session = self._session(told.peer)
        session.public = PUBLIC_PROTOCOL in told.protocols
        proven = () if session.inbound else row.addresses[:1]
        sequence = row.sequence
        if told.record:
            record = open_record(told.record)
            if record.peer != told.peer:
                raise ForgedRecordError(0, "the record is of another peer")
            if record.sequence >= sequence:
                session.record = told.record, record
            if record.sequence <= sequence:
                return []
            sequence = record.sequence
            near = reach_of_text(session.address)
            merged = _merge(proven, own_word(record.addresses, near))
        elif sequence:
            return []  # its signed word stands
        else:
            fit = tuple(one for one in told.addresses if len(one) <= ADDRESS_CHARS_MAX)
            merged = _merge(proven, _merge(fit, row.addresses))
        changed = replace(row, addresses=merged, sequence=sequence)
        return [] if changed == row else [self._put(changed)]

    def found(self, peer: PeerId, how: str) -> list[Effect]:
        """A known peer came to be known by `how`; what was known first stays."""
        row = self._rows.get(peer)
        return [] if row is None or row.found else [self._put(replace(row, found=how))]

    def how(self, peer: PeerId) -> str:
        """How `peer` came to be known first; "" when it is not, or was dialled by itself."""
        row = self._rows.get(peer)
        return row.found if row is not None else ""

    def shared(self, asker: PeerId) -> list[tuple[bytes, PeerRecord]]:
        """Signed records of the connected peers that are public, but for `asker`'s own."""
        return [
            session.record
            for peer in sorted(self.up)
            if peer != asker and (session := self._session(peer)).public and session.record
        ]

    def public(self) -> list[PeerId]:
        """The peers that have said since the start that they take part in what is public."""
        return sorted(peer for peer, session in self._sessions.items() if session.public)

    def usefulness(self, peer: PeerId) -> tuple[int, int]:
        """A measure for connected peers that nobody needs; the least one is closed first.

        No dms3 of ours, came and not yet probed, came, came and is public, was dialled; and of two
        alike the one that came last, so that a crowd displaces itself.
        """
        session = self._session(peer)
        rank = 4 if not session.inbound else 3 if session.public else 2
        if session.problem is not None:
            rank = 0
        elif session.inbound and session.rtt_us is None:
            rank = 1
        return rank, -self.up[peer]

    def is_inbound(self, peer: PeerId) -> bool:
        """Whether the peer dialled us."""
        return self._session(peer).inbound

    def reach(self, peer: PeerId) -> Reach:
        """From how far the connection to `peer` comes."""
        return reach_of_text(self.address(peer))

    def ours(self) -> list[PeerId]:
        """The connected peers that have answered a probe: of this network, in order of ids."""
        return [peer for peer in sorted(self.up) if self._session(peer).rtt_us is not None]

    def addresses(self, peer: PeerId, first: tuple[str, ...]) -> tuple[str, ...]:
        """Where to dial `peer`: `first`, then what is remembered."""
        row = self._rows.get(peer)
        return _merge(first, row.addresses if row is not None else ())

    def address(self, peer: PeerId) -> str:
        """The remote address of the connection to `peer`, or "" without one."""
        session = self._sessions.get(peer)
        return session.address if session is not None else ""

    def probed(self, peer: PeerId, rtt_us: int) -> None:
        """The peer has answered a probe."""
        self._session(peer).rtt_us = rtt_us

    def is_probed(self, peer: PeerId) -> bool:
        """Whether the peer has answered a probe on this connection, or speaks no dms3."""
        session = self._sessions.get(peer)
        return session is not None and (session.rtt_us is not None or session.problem is not None)

    def trouble(self, peer: PeerId, failure: Failure) -> None:
        """Something went wrong with a known peer: remembered for people."""
        if peer in self._rows:
            self._session(peer).problem = failure

    def problem(self, peer: PeerId) -> Failure | None:
        """What went wrong last."""
        session = self._sessions.get(peer)
        return session.problem if session is not None else None

    # Conduct

    def misconduct(self, peer: PeerId, code: str, now: Now) -> bool:
        """Count `code` against `peer`; whether it is to be refused from now on.

        Raises `argument_invalid` for a code without a price.
        """
        if code not in CONDUCT:
            raise Dms3Error("argument_invalid", f"{code!r} is not in the table of conduct.")
        if self.is_refused(peer, now.wall_us) or (peer not in self._rows and peer not in self.up):
            return False
        return self._session(peer).score.add(code, now.mono_us)

    def refuse(self, peer: PeerId, until_us: int) -> list[Effect]:
        """Refuse `peer` until wall `until_us`; its score begins anew then."""
        self._session(peer).score = Score()
        row = self._rows.get(peer, Known(peer, (), 0))
        return [self._put(replace(row, refused_until_us=until_us))]

    def is_refused(self, peer: PeerId, wall_us: int) -> bool:
        """Whether `peer` is refused at wall `wall_us`."""
        row = self._rows.get(peer)
        return row is not None and _refuses(row, wall_us)

    def refused(self, wall_us: int) -> list[Known]:
        """The peers refused at wall `wall_us`."""
        return [row for row in self._rows.values() if _refuses(row, wall_us)]

    # Looking

    def rows(
        self,
        now: Now,
        contact_of: Callable[[PeerId], Contact | None],
        wanted: Mapping[PeerId, str],
    ) -> tuple[PeerRow, ...]:
        """Every known peer: the connected ones first, then the last seen.

        `wanted`: why a peer is kept connected ("bootstrap", "lan"), where it is.
        """
        rows = []
        for known in self._list():
            peer = PeerId(known.peer)
            contact = contact_of(peer)
            how = "contact" if contact is not None else wanted.get(peer) or known.found or "dht"
            rows.append(self._row(known, now, contact, how))
        return tuple(rows)

    def _list(self) -> list[Known]:
        return sorted(
            self._rows.values(),
            key=lambda row: (PeerId(row.peer) not in self.up, -row.seen_us, row.peer),
        )

    def _row(self, known: Known, now: Now, contact: Contact | None, how: str) -> PeerRow:
        peer = PeerId(known.peer)
        session = self._sessions.get(peer) or _Session()
        connected = peer in self.up
        return PeerRow(
            peer=peer,
            name=contact.name if contact is not None else None,
            root=contact.root if contact is not None else None,
            connected=connected,
            inbound=connected and session.inbound,
            address=session.address if connected else "",
            addresses=known.addresses,
            seen_us=now.wall_us if connected else known.seen_us,
            points=session.score.at(now.mono_us),
            refused_until_us=known.refused_until_us,
            rtt_us=session.rtt_us if connected else None,
            problem=session.problem,
            found=how,
        )

    def _session(self, peer: PeerId) -> _Session:
        return self._sessions.setdefault(peer, _Session())

    def _put(self, row: Known) -> Persist:
        self._rows[PeerId(row.peer)] = row
        return Persist(TABLE, row.peer, encode(row))

    def _evict(self, keep: Callable[[PeerId], bool]) -> list[Effect]:
        """Make room for one row: the longest unseen that is neither connected nor needed goes."""
        if len(self._rows) < PEERS_KNOWN_MAX:
            return []
        # A refused peer is spared as long as there is another: else refusals would wash out.
        rows = sorted(
            (row for row in self._rows.values() if PeerId(row.peer) not in self.up),
            key=lambda row: (row.refused_until_us, row.seen_us, row.peer),
        )
        for row in rows:
            peer = PeerId(row.peer)
            if not keep(peer):  # asked last, for it is dear
                del self._rows[peer]
                self._sessions.pop(peer, None)
                return [Delete(TABLE, peer)]
        return []


def _refuses(row: Known, wall_us: int) -> bool:
    """Whether a refusal lasts; one that would last too long was made while the clock was wrong."""
    return 0 < row.refused_until_us - wall_us <= REFUSE_US


def _merge(first: tuple[str, ...], then: tuple[str, ...]) -> tuple[str, ...]:
    """Both lists without repetition, at most as many as are kept."""
    return tuple(dict.fromkeys((*first, *then)))[:ADDRESSES_PER_PEER_MAX]
