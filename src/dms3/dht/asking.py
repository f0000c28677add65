"""Questions of this node to others: dialling, one answer each, and what an answer is worth.

Source: docs/wire.md, "/dms3/dht/1"; docs/attacks.md, "Somebody in the public overlay". The routing
table hears of whoever answers and of whoever does not, the peer book of whoever lies. Values are
checked by whoever asked for them. Nothing here survives a restart: callers ask again.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dms3.core.codec import encode
from dms3.core.errors import DecodeError, Failure, Retry
from dms3.core.ids import OverlayId, PeerId, Token
from dms3.core.limits import (
    DHT_ASK_US,
    DHT_ASKS_MAX,
    DHT_ASKS_PER_PEER_MAX,
    ID_WORK_BITS,
    QUESTION_BURST_US,
    QUESTION_COST_US,
)
from dms3.core.machine import Call, Cancel, Effect, Now, Request
from dms3.core.overlay import NodeAt
from dms3.core.verdict import Invalid
from dms3.crypto.certificate import is_node_peer_id
from dms3.dht.connections import DIAL, Connections
from dms3.dht.messages import (
    PROTOCOL,
    Codes,
    Nodes,
    Question,
    Values,
    decode_codes,
    decode_nodes,
    decode_values,
)
from dms3.dht.pace import Pace, weight_of
from dms3.dht.presence import Proven, Standing, Verified, node_location
from dms3.dht.routing import Table
from dms3.p2p.port import Conducted
from dms3.p2p.reach import reach_of_text

ASK, REPORT = "ask:", "report:"
PREFIXES = (ASK, DIAL)
MALFORMED, LIED = "body_malformed", "presence_forged"

_UNFIT = ("protocol_unsupported", "network_mismatch")  # another program, another network
_SILENT = ("timed_out", "peer_unreachable", "peer_refused")
_OURS = ("limit_reached", "node_stopping")  # a dial that failed for reasons of this node
_FULL = Failure("limit_reached", "Too many questions are under way.", Retry.LATER)
_NO_NODE = Failure("protocol_unsupported", "This is not another node of dms3.")
_LATE = Failure("timed_out", "The node did not answer in time.", Retry.LATER)
_LIE = Failure("peer_misbehaved", "The node's answer does not hold.", Retry.OTHER_PEER)


@dataclass(frozen=True, slots=True)
class Told:
    """The checked answer to find or get.

    `nodes`: (location as a number, node) of those to ask next, in the answerer's order; `values`:
    what it holds, not yet validated; `more`: it holds further slots.
    """

    nodes: tuple[tuple[int, NodeAt], ...]
    values: tuple[bytes, ...] = field(default=(), repr=False)
    more: bool = False


Answer = Told | Codes
Done = Callable[[Answer | Failure, Now], list[Effect]]
"""Called exactly once with the outcome of a question, and never while it is being asked."""


@dataclass(slots=True)
class _Ask:
    """A question to `node`: in line, waiting for a connection, or asked."""

    node: NodeAt
    question: Question
    deadline_us: int
    done: Done
    group: int
    asked: bool = False
    again: bool = False  # the connection broke under it once
    presence: bytes = b""  # ours, as shown with it


class Asking:
    """Arguments: `own`, this node; `tables` by overlay, told of who answers.

    `standing`: what this node says of itself; `verified`: presences checked already; `work_bits`:
    what the id of a node must cost that can be reached everywhere.
    """

    def __init__(
        self,
        own: PeerId,
        tables: Mapping[OverlayId, Table],
        standing: Standing,
        verified: Verified,
        work_bits: int = ID_WORK_BITS,
    ) -> None:
        self._own = own
        self._tables = tables
        self._standing = standing
        self._verified = verified
        self._work_bits = work_bits
        self.connections = Connections(self._is_busy)
        self._asks: dict[int, _Ask] = {}
        self._of_peer: dict[PeerId, dict[int, None]] = {}  # oldest first
        self._deadlines: list[tuple[int, int]] = []
        self._pace = Pace(QUESTION_COST_US, QUESTION_BURST_US // 2)  # clocks differ a little
        self._paced: list[tuple[int, PeerId]] = []  # who may be asked again from when on
        self._resting: set[PeerId] = set()  # those of `_paced`
        self._ended: list[tuple[_Ask, Failure]] = []  # refused, their callers not told yet
        self._count = 0

    @property
    def open(self) -> int:
        """Questions whose callers still wait."""
        return len(self._asks) + len(self._ended)

    def ask(
        self,
        node: NodeAt,
        question: Question,
        now: Now,
        done: Done,
        *,
        patience_us: int = DHT_ASK_US,
        group: int = 0,
    ) -> list[Effect]:
        """Put `question` (its presence is filled in here) to `node`; `done` gets the outcome.

        `group`: a number under which it can be dropped. At the latest after `patience_us` the
        outcome is Failure `timed_out`; beyond DHT_ASKS_MAX questions it is `limit_reached`.
        """
        ask = _Ask(node, question, now.mono_us + patience_us, done, group)
        refusal = self._refusal(node.peer)
        if refusal is not None:
            self._ended.append((ask, refusal))
            return []
        self._count += 1
        number = self._count
        self._asks[number] = ask
        self._of_peer.setdefault(node.peer, {})[number] = None
        heapq.heappush(self._deadlines, (ask.deadline_us, number))
        return self._proceed(node.peer, now)

    def drop(self, group: int) -> list[Effect]:
        """Forget the questions of `group`; their callers are told nothing."""
        effects: list[Effect] = []
        self._ended = [pair for pair in self._ended if pair[0].group != group]
        for number, ask in list(self._asks.items()):
            if ask.group == group:
                self._forget(number)
                if ask.asked:
                    effects.append(Cancel(Token(f"{ASK}{number}")))
        return effects

    def _refusal(self, peer: PeerId) -> Failure | None:
        if not is_node_peer_id(peer) or peer == self._own:
            return _NO_NODE
        return _FULL if self.open >= DHT_ASKS_MAX else None

    # Events

    def on_up(self, peer: PeerId, address: str, now: Now, *, inbound: bool) -> list[Effect]:
        """A connection is open: ask what waits for it."""
        effects = self.connections.on_up(peer, address, now, inbound=inbound)
        return effects + self._proceed(peer, now)

    def on_down(self, peer: PeerId) -> None:
        """The last connection to a peer has closed; what was asked on it fails by itself."""
        self.connections.on_down(peer)
        self._pace.forget(peer)

    def on_answered(self, token: Token, body: Any, now: Now) -> list[Effect]:
        """The answer to a question or a dial of ours; others are ignored."""
        if token.startswith(DIAL):
            peer, failure, effects = self.connections.on_dialed(token, body)
            if failure is None:
                return effects + self._proceed(peer, now)
            return effects + self._fail_all(peer, failure, now)
        number = int(token.removeprefix(ASK))
        ask = self._asks.get(number)
        if ask is None:
            return []
        if isinstance(body, Failure):
            return self._on_failure(number, ask, body, now)
        return self._on_answer(number, ask, body, now)

    def on_timer(self, now: Now) -> list[Effect]:
        """End what has waited too long; let connections go."""
        effects = self._tell_ended(now)
        while self._paced and self._paced[0][0] <= now.mono_us:
            _, peer = heapq.heappop(self._paced)
            self._resting.discard(peer)
            effects += self._proceed(peer, now)
        while self._deadlines and self._deadlines[0][0] <= now.mono_us:
            _, number = heapq.heappop(self._deadlines)
            ask = self._asks.get(number)
            if ask is not None and not ask.asked:  # what was asked ends by its own deadline
                effects += self._finish(number, _LATE, now)
        return effects + self.connections.on_timer(now)

    def next_timer(self) -> int | None:
        """The earliest deadline, or an instant that has passed when callers wait to be told."""
        if self._ended:
            return 0
        while self._deadlines and self._deadlines[0][1] not in self._asks:
            heapq.heappop(self._deadlines)
        due = [heap[0][0] for heap in (self._deadlines, self._paced) if heap]
        resting = self.connections.next_timer()
        return min([*due, *([] if resting is None else [resting])], default=None)

    # From the line to the answer

    def _proceed(self, peer: PeerId, now: Now) -> list[Effect]:
        """Ask `peer` what waits in its line as far as it may be asked at once, or dial it."""
        line = self._of_peer.get(peer)
        if not line:
            return []
        unfit = self.connections.unfit(peer)
        if unfit is not None:
            for number in list(line):
                self._ended.append((self._forget(number), unfit))
            return []
        if self.connections.address(peer) is None:
            return self.connections.want(self._asks[next(iter(line))].node)
        waiting = [number for number in line if not self._asks[number].asked]
        room = DHT_ASKS_PER_PEER_MAX - (len(line) - len(waiting))
        effects: list[Effect] = []
        for number in waiting[: max(0, room)]:
            if self._must_rest(number, peer, now):
                break
            effects.append(self._send(number, now))
        return effects

    def _must_rest(self, number: int, peer: PeerId, now: Now) -> bool:
        """Whether `peer` has been asked so much that this question has to wait."""
        if peer in self._resting:
            return True
        question = self._asks[number].question
        weight = weight_of(len(question.offers) + len(question.puts))
        wait_us = self._pace.wait_us(peer, weight, now)
        if wait_us:
            self._resting.add(peer)
            heapq.heappush(self._paced, (now.mono_us + wait_us, peer))
        return wait_us > 0

    def _send(self, number: int, now: Now) -> Effect:
        ask = self._asks[number]
        peer, overlay = ask.node.peer, OverlayId(ask.question.overlay)
        own = self._standing.presence(overlay, now.wall_us)
        if not self.connections.is_shown(peer, overlay, own, now):
            ask.presence = own
        ask.asked = True
        self.connections.used(peer, now)
        question = ask.question
        if ask.presence:
            question = replace(question, presence=ask.presence)
        return Request(peer, PROTOCOL, encode(question), Token(f"{ASK}{number}"), ask.deadline_us)

    def _on_failure(self, number: int, ask: _Ask, failure: Failure, now: Now) -> list[Effect]:
        peer = ask.node.peer
        if failure.code == "peer_unreachable":
            self.connections.on_down(peer)  # the event that says so comes later
            if not ask.again and ask.deadline_us > now.mono_us:
                ask.asked, ask.again, ask.presence = False, True, b""  # it was let go as we asked
                return self._proceed(peer, now)
        effects: list[Effect] = []
        if failure.code in _UNFIT:
            effects += self.connections.on_unfit(peer, failure)
            effects += self._table(ask).drop(peer, _at(peer))
        elif failure.code in _SILENT:
            effects += self._table(ask).failed(peer, _at(peer))
        return effects + self._finish(number, failure, now)

    def _on_answer(self, number: int, ask: _Ask, body: bytes, now: Now) -> list[Effect]:
        peer, overlay = ask.node.peer, OverlayId(ask.question.overlay)
        self.connections.used(peer, now)
        self.connections.show(peer, overlay, ask.presence, now)
        address = self.connections.address(peer) or ""
        try:
            presence, answer = self._read(ask, body, address, now)
        except DecodeError:
            return self._blame(number, ask, MALFORMED, now)
        except _LieError:
            return self._blame(number, ask, LIED, now)
        table = self._table(ask)
        effects: list[Effect] = []
        if presence is not None:
            effects += table.seen(presence, address, now.mono_us)
        else:
            effects += table.answered(peer, _at(peer), now.mono_us)
        return effects + self._finish(number, answer, now)

    def _read(self, ask: _Ask, body: bytes, address: str, now: Now) -> tuple[Proven | None, Answer]:
        """The answerer's presence, if it shows one in date, and the answer; or _LieError."""
        question, overlay = ask.question, OverlayId(ask.question.overlay)
        raw: Nodes | Values | Codes
        if question.find is not None:
            raw = decode_nodes(body)
        elif question.get is not None:
            raw = decode_values(body)
        else:
            raw = decode_codes(body, len(question.offers) + len(question.puts))
        presence = None
        if raw.presence:
            peer = ask.node.peer
            shown = self._verified.of_peer(raw.presence, peer, overlay, now.wall_us)
            if isinstance(shown, Invalid):
                raise _LieError(shown.detail)
            presence = shown if isinstance(shown, Proven) else None
        if isinstance(raw, Codes):
            return presence, raw
        nodes = self._check_nodes(raw.nodes, overlay, address, now)
        if isinstance(raw, Values):
            return presence, Told(nodes, raw.values, raw.more)
        return presence, Told(nodes)

    def _check_nodes(
        self, presences: tuple[bytes, ...], overlay: OverlayId, address: str, now: Now
    ) -> tuple[tuple[int, NodeAt], ...]:
        near = reach_of_text(address)
        seen: dict[PeerId, None] = {}
        nodes: list[tuple[int, NodeAt]] = []
        for data in presences:
            proven = self._verified.open(data, overlay, now.wall_us)
            if isinstance(proven, Invalid):
                raise _LieError(proven.detail)
            if not isinstance(proven, Proven):
                continue  # over or of the future: one of the three clocks is wrong
            if proven.peer in seen:
                raise _LieError("a node is named twice")
            seen[proven.peer] = None
            node = proven.node(near)
            if node is None or proven.owes_work(self._work_bits) or node.peer == self._own:
                continue
            nodes.append((proven.at, node))
        return tuple(nodes)

    # The end

    def blame(self, peer: PeerId, code: str) -> Effect:
        """Tell the peer book what `peer` did; `code` is a key of CONDUCT."""
        self._count += 1
        return Call("peers.conduct", Conducted(peer, code), Token(f"{REPORT}{self._count}"))

    def lied(self, peer: PeerId, overlay: OverlayId, code: str) -> list[Effect]:
        """`peer` did what `code` names: it is reported and leaves the table."""
        blame = self.blame(peer, code)
        if not is_node_peer_id(peer):  # another libp2p program may have a key of another kind
            return [blame]
        return [blame, *self._tables[overlay].drop(peer, _at(peer))]

    def _blame(self, number: int, ask: _Ask, code: str, now: Now) -> list[Effect]:
        effects = self.lied(ask.node.peer, OverlayId(ask.question.overlay), code)
        return effects + self._finish(number, _LIE, now)

    def _fail_all(self, peer: PeerId, failure: Failure, now: Now) -> list[Effect]:
        """No connection to `peer`: what waits for it fails."""
        effects: list[Effect] = []
        for number in list(self._of_peer.get(peer, ())):
            ask = self._asks.get(number)
            if ask is not None and not ask.asked:
                if failure.code not in _OURS:
                    effects += self._table(ask).failed(peer, _at(peer))
                effects += self._finish(number, failure, now)
        return effects

    def _finish(self, number: int, outcome: Answer | Failure, now: Now) -> list[Effect]:
        ask = self._forget(number)
        effects = ask.done(outcome, now) + self._proceed(ask.node.peer, now)
        return effects + self.connections.dial_next()  # this one may be free to go

    def _tell_ended(self, now: Now) -> list[Effect]:
        effects: list[Effect] = []
        for _ in range(len(self._ended)):
            if not self._ended:
                break  # whoever was told has dropped the others
            ask, failure = self._ended.pop(0)
            effects += ask.done(failure, now)
        return effects

    def _forget(self, number: int) -> _Ask:
        ask = self._asks.pop(number)
        line = self._of_peer[ask.node.peer]
        del line[number]
        if not line:
            del self._of_peer[ask.node.peer]
            self.connections.unwant(ask.node.peer)
        return ask

    def _is_busy(self, peer: PeerId) -> bool:
        return peer in self._of_peer

    def _table(self, ask: _Ask) -> Table:
        return self._tables[OverlayId(ask.question.overlay)]


class _LieError(Exception):
    """An answer that no honest node gives."""


def _at(peer: PeerId) -> int:
    return int.from_bytes(node_location(peer), "big")
