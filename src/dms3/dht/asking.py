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

from dms3.core.admission import NOT_ADMITTED
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
from dms3.core.pace import Pace
from dms3.crypto.certificate import is_node_peer_id
from dms3.dht.admitting import Door
from dms3.dht.connections import DIAL, Connections
from dms3.dht.messages import PROTOCOL, Find, Question
from dms3.dht.pace import weight_of
from dms3.dht.presence import Standing, node_location
from dms3.dht.reading import Answer, LieError, Reading
from dms3.dht.routing import Table
from dms3.p2p.port import Conducted

ASK, REPORT = "ask:", "report:"
PREFIXES = (ASK, DIAL)
MALFORMED, LIED = "body_malformed", "presence_forged"

_UNFIT = ("protocol_unsupported", "network_mismatch")  # another program, another network
_SILENT = ("timed_out", "peer_unreachable", "peer_refused")
_OURS = ("limit_reached", "node_stopping")  # a dial that failed for reasons of this node
_FULL = Failure("limit_reached", "Too many questions are under way.", Retry.LATER)
_NO_NODE = Failure("protocol_unsupported", "This is not another node of dms3.")
_LEFT = Failure("not_found", "This node is not in that overlay.")
_STRANGER = Failure(NOT_ADMITTED, "The node has not shown that it is a member.")
_LATE = Failure("timed_out", "The node did not answer in time.", Retry.LATER)
_LIE = Failure("peer_misbehaved", "The node's answer does not hold.", Retry.OTHER_PEER)


@dataclass(frozen=True, slots=True)
class Foreign:
    """A question of another machine: `body` of `protocol`; its answer is handed on as it is.

    `overlay`: where its node was found, whose table hears whether it answers; None: nowhere.
    """

    protocol: str
    body: bytes = field(repr=False)
    overlay: OverlayId | None = None


Done = Callable[[Answer | Failure, Now], list[Effect]]
"""Called exactly once with the outcome of a question, and never while it is being asked."""

OnBytes = Callable[[bytes | Failure, Now], list[Effect]]
"""The same for a question of another machine."""


@dataclass(slots=True)
class _Ask:
    """A question to `node`: in line, waiting for a connection, or asked."""

    node: NodeAt
    question: Question | Foreign
    deadline_us: int
    done: Callable[[Any, Now], list[Effect]]
    group: int
    asked: bool = False
    again: bool = False  # the connection broke under it once
    presence: bytes = b""  # ours, as shown with it

    @property
    def overlay(self) -> OverlayId | None:
        """The overlay that it is about, if any."""
        overlay = self.question.overlay
        return None if overlay is None else OverlayId(overlay)


class Asking:
    """Arguments: `own`, this node; `tables` by overlay, told of who answers.

    `standing`: what this node says of itself; `door`: whose presences hold; `work_bits`: what the
    id of a node must cost that can be reached everywhere.
    """

    def __init__(
        self,
        own: PeerId,
        tables: Mapping[OverlayId, Table],
        standing: Standing,
        door: Door,
        work_bits: int = ID_WORK_BITS,
    ) -> None:
        self._own = own
        self._tables = tables
        self._standing = standing
        self._door = door
        self._reading = Reading(own, door, work_bits)
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
        return self._line_up(_Ask(node, question, now.mono_us + patience_us, done, group), now)

    def ask_foreign(
        self,
        node: NodeAt,
        question: Foreign,
        now: Now,
        done: OnBytes,
        *,
        patience_us: int = DHT_ASK_US,
        group: int = 0,
    ) -> list[Effect]:
        """The same for a question of another machine, which may reach `node` twice."""
        return self._line_up(_Ask(node, question, now.mono_us + patience_us, done, group), now)

    def leave(self, overlay: OverlayId) -> list[Effect]:
        """This node is in `overlay` no more: what is asked there fails."""
        self.connections.leave(overlay)
        effects: list[Effect] = []
        for number, ask in list(self._asks.items()):
            if ask.overlay == overlay:
                self._ended.append((self._forget(number), _LEFT))
                if ask.asked:
                    effects.append(Cancel(Token(f"{ASK}{number}")))
        return effects

    def _line_up(self, ask: _Ask, now: Now) -> list[Effect]:
        node = ask.node
        refusal = self._refusal(ask)
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

    def _refusal(self, ask: _Ask) -> Failure | None:
        peer = ask.node.peer
        if not is_node_peer_id(peer) or peer == self._own:
            return _NO_NODE
        if ask.overlay is not None and ask.overlay not in self._tables:
            return _LEFT
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
        return [
            self._send(number, now)
            for number in waiting[: max(0, room)]
            if not self._must_rest(self._asks[number].question, peer, now)
        ]

    def _must_rest(self, question: Question | Foreign, peer: PeerId, now: Now) -> bool:
        """Whether `peer` has been asked so much that this question has to wait."""
        if isinstance(question, Foreign):
            return False  # its machine has its own pace
        if peer in self._resting:
            return True
        weight = weight_of(len(question.offers) + len(question.puts))
        wait_us = self._pace.wait_us(peer, weight, now)
        if wait_us:
            self._resting.add(peer)
            heapq.heappush(self._paced, (now.mono_us + wait_us, peer))
        return wait_us > 0

    def _send(self, number: int, now: Now) -> Effect:
        ask = self._asks[number]
        peer, question, token = ask.node.peer, ask.question, Token(f"{ASK}{number}")
        ask.asked = True
        self.connections.used(peer, now)
        if isinstance(question, Foreign):
            return Request(peer, question.protocol, question.body, token, ask.deadline_us)
        overlay = OverlayId(question.overlay)
        own = self._standing.presence(overlay, now.wall_us)
        if not self.connections.is_shown(peer, overlay, own, now):
            ask.presence = own
            question = replace(question, presence=own)
        return Request(peer, PROTOCOL, encode(question), token, ask.deadline_us)

    def _on_failure(self, number: int, ask: _Ask, failure: Failure, now: Now) -> list[Effect]:
        peer = ask.node.peer
        if failure.code == "peer_unreachable":
            self.connections.on_down(peer)  # the event that says so comes later
            if not ask.again and ask.deadline_us > now.mono_us:
                ask.asked, ask.again, ask.presence = False, True, b""  # it was let go as we asked
                return self._proceed(peer, now)
        effects: list[Effect] = []
        if failure.code == NOT_ADMITTED and self._may_introduce(ask, now):
            return self._introduce(number, ask, now)
        if failure.code == NOT_ADMITTED and ask.overlay is not None:
            self._door.turned_away(ask.overlay, peer, failure.message)
        if failure.code in _UNFIT and isinstance(ask.question, Question):
            effects += self.connections.on_unfit(peer, failure)
            effects += self._tables[OverlayId(ask.question.overlay)].drop(peer, _at(peer))
        elif failure.code in _SILENT:
            effects += self._missed(ask)
        return effects + self._finish(number, failure, now)

    def _may_introduce(self, ask: _Ask, now: Now) -> bool:
        """Whether the node may have refused because it was not shown who we are."""
        overlay = ask.overlay
        is_closed = overlay is not None and self._door.is_closed(overlay)
        return is_closed and not (ask.again or ask.presence or ask.deadline_us <= now.mono_us)

    def _introduce(self, number: int, ask: _Ask, now: Now) -> list[Effect]:
        """Show ourselves, and ask once more."""
        peer, overlay = ask.node.peer, ask.overlay
        assert overlay is not None, "it is closed"
        self.connections.unshown(peer, overlay)
        ask.again = True
        if isinstance(ask.question, Question):
            ask.asked = False
            return self._proceed(peer, now)

        def shown(answer: Answer | Failure, at: Now) -> list[Effect]:
            if number not in self._asks:
                return []
            if isinstance(answer, Failure):
                return self._finish(number, answer, at)
            ask.asked = False
            return self._proceed(peer, at)

        find = Question(overlay, find=Find(node_location(self._own)))
        patience_us = ask.deadline_us - now.mono_us
        return self.ask(ask.node, find, now, shown, patience_us=patience_us, group=ask.group)

    def _on_answer(self, number: int, ask: _Ask, body: bytes, now: Now) -> list[Effect]:
        peer, question = ask.node.peer, ask.question
        self.connections.used(peer, now)
        if isinstance(question, Foreign):
            return self._heard(ask, now) + self._finish(number, body, now)
        overlay = OverlayId(question.overlay)
        self.connections.show(peer, overlay, ask.presence, now)
        address = self.connections.address(peer) or ""
        try:
            presence, answer = self._reading.read(question, peer, body, address, now)
        except DecodeError:
            return self.lied(peer, overlay, MALFORMED) + self._finish(number, _LIE, now)
        except LieError:
            return self.lied(peer, overlay, LIED) + self._finish(number, _LIE, now)
        if presence is not None:
            effects = self._tables[overlay].seen(presence, address, now.mono_us)
        elif self._door.refusal(peer, overlay, address, now.wall_us) is not None:
            lapsed = self._tables[overlay].drop_lapsed(peer, now.wall_us)
            return lapsed + self._finish(number, _STRANGER, now)
        else:
            effects = self._heard(ask, now)
        return effects + self._finish(number, answer, now)

    def _heard(self, ask: _Ask, now: Now) -> list[Effect]:
        """It is there."""
        peer, overlay = ask.node.peer, ask.overlay
        if overlay is None:
            return []
        return self._tables[overlay].answered(peer, _at(peer), now.mono_us)

    def _missed(self, ask: _Ask) -> list[Effect]:
        """It did not answer; the peer book hears of who cannot be reached at all."""
        peer, overlay = ask.node.peer, ask.overlay
        effects = [] if overlay is None else self._tables[overlay].failed(peer, _at(peer))
        if self.connections.address(peer) is None:
            self._count += 1
            effects.append(Call("peers.missed", peer, Token(f"{REPORT}{self._count}")))
        return effects

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

    def _fail_all(self, peer: PeerId, failure: Failure, now: Now) -> list[Effect]:
        """No connection to `peer`: what waits for it fails."""
        effects: list[Effect] = []
        for number in list(self._of_peer.get(peer, ())):
            ask = self._asks.get(number)
            if ask is not None and not ask.asked:
                if failure.code not in _OURS:
                    effects += self._missed(ask)
                effects += self._finish(number, failure, now)
        return effects

    def _finish(self, number: int, outcome: Answer | bytes | Failure, now: Now) -> list[Effect]:
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


def _at(peer: PeerId) -> int:
    return int.from_bytes(node_location(peer), "big")
