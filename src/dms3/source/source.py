"""Machine "source": this device's own chains, from what is committed to what others hold of it.

Source: docs/chains.md; `chain/operations.py` lists what it is asked and what it asks. It joins the
parts and gives each its events; every part writes its effects on one desk (`core/desk.py`). Nothing
that is signed leaves before it is durable here.
"""

from __future__ import annotations

from collections.abc import Sequence

from dms3.chain.agent_messages import MINORS, PROTOCOL, decode_agent_question
from dms3.core.desk import Operation
from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.limits import AGENT_PEER_BURST_US, AGENT_PEER_COST_US
from dms3.core.machine import (
    Answered,
    Called,
    ClockJumped,
    Effect,
    Entropy,
    Event,
    Now,
    PeerDown,
    PeerUp,
    Requested,
    View,
    Withdrawn,
)
from dms3.core.pace import Pace
from dms3.p2p.port import Conducted
from dms3.source.agents import Agents
from dms3.source.capabilities import Capabilities
from dms3.source.countersigning import Countersigning
from dms3.source.grounds import Grounds, Own
from dms3.source.own import OwnChains
from dms3.source.parts import Part, Question
from dms3.source.sending import Sending
from dms3.source.whereabouts import Whereabouts

__all__ = ["MINORS", "NAME", "PROTOCOL", "Source"]

NAME = "source"
_TOO_OFTEN = Failure("limit_reached", "You ask too often; wait a moment.", Retry.LATER)


class Source:
    """The machine of the person and device that `own` describes."""

    def __init__(self, own: Own, entropy: Entropy) -> None:
        self._grounds = Grounds(own, entropy)
        self._desk = self._grounds.desk
        self._parts: Sequence[Part] = self._made()
        self._pace = Pace(AGENT_PEER_COST_US, AGENT_PEER_BURST_US)
        self._operations: dict[str, Operation] = {}
        self._questions: dict[str, Question] = {}
        for part in self._parts:
            self._operations.update(part.operations())
            self._questions.update(part.questions())

    def _made(self) -> tuple[Part, ...]:
        """The parts, each given those that it stands on."""
        grounds = self._grounds
        own = OwnChains(grounds)
        whereabouts = Whereabouts(grounds)
        agents = Agents(grounds, whereabouts)
        capabilities = Capabilities(grounds)
        sending = Sending(grounds, agents, capabilities)
        countersigning = Countersigning(grounds, agents, own.writing)
        own.tell((whereabouts.taken_up, countersigning.taken_up), (whereabouts.ended,))
        return (*own.parts, whereabouts, capabilities, sending, countersigning)

    # The machine

    def on_start(self, view: View, now: Now) -> list[Effect]:
        """Read the chains; go on with what was not kept or not published."""
        self._desk.now = now
        self._grounds.load(view)
        for part in self._parts:
            part.load(view)
        return self._desk.take()

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Commands, answers, peers' questions, connections."""
        self._desk.now = now
        match event:
            case Answered(token, body):
                self._desk.answered(token, body)
            case Called():
                self._desk.carry_out(NAME, self._operations, event)
            case Requested():
                self._requested(event)
            case Withdrawn(request):
                for part in self._parts:
                    part.withdrawn(request)
            case PeerUp(peer):
                for part in self._parts:
                    part.peer_up(peer)
            case PeerDown(peer):
                self._pace.forget(peer)
                for part in self._parts:
                    part.peer_down(peer)
            case ClockJumped():
                for part in self._parts:
                    part.clock_jumped()
        return self._desk.take()

    def on_timer(self, now: Now) -> list[Effect]:
        """Pauses that are over."""
        self._desk.now = now
        self._desk.ring()
        return self._desk.take()

    def next_timer(self) -> int | None:
        """The earliest alarm."""
        return self._desk.next_alarm()

    # Questions

    def _requested(self, event: Requested) -> None:
        if self._pace.wait_us(event.peer, 1, self._desk.now):
            self._desk.reply(event.request, _TOO_OFTEN)
            return
        try:
            asked = decode_agent_question(event.body)
            for name, question in self._questions.items():
                part = getattr(asked, name)
                if part is not None:
                    question(event.peer, part, event.request)
                    return
            why = "This node answers no such question to an agent."
            self._desk.reply(event.request, Failure("method_unknown", why))
        except DecodeError as error:
            self._desk.reply(event.request, Failure("body_malformed", error.message))
            conducted = Conducted(event.peer, "body_malformed")
            self._desk.call("peers.conduct", conducted, lambda _: None)
        except Dms3Error as error:
            self._desk.reply(event.request, Failure.of(error))
