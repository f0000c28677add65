"""Nodes that break rules, in scenario "integrity": production machines that answer otherwise.

Source: docs/simulator.md, "The scenario integrity". What they send, every real node could send.
"""

from __future__ import annotations

from dms3.chain.messages import decode_chain_question
from dms3.core.errors import DecodeError, Failure
from dms3.core.machine import Call, Called, Effect, Entropy, Event, Now, Reply, Requested
from dms3.core.verdict import Valid
from dms3.crypto.signing import SigningKey
from dms3.node.inbox import Hosted, Overflow
from dms3.sim.scenarios.chain_members import ChainMembers
from dms3.sim.scenarios.chain_rules import DNA
from dms3.sim.world import SimNode
from dms3.validation import validation

_SILENT = Failure("not_found", "There is nothing here.")
_KEPT_BACK = ("source.warrant", "gossip.spread")


class Lawless(validation.Validation):
    """Whatever this node wants to write is valid."""

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As everybody's, but for the verdict on its own actions."""
        if isinstance(event, Called) and event.operation == "judge":
            return [Reply(event.request, Valid())]
        return super().on_event(event, now)


class Silent(validation.Validation):
    """A holder that takes what it is given, signs for it, and shows and tells nobody."""

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """Publishes are taken; every other question is answered with nothing."""
        if isinstance(event, Called) and event.operation == "heard":
            return [Reply(event.request, body=False)]
        if isinstance(event, Requested) and not _is_publish(event.body):
            return [Reply(event.request, _SILENT)]
        return _without_warnings(super().on_event(event, now))

    def on_timer(self, now: Now) -> list[Effect]:
        """It warns nobody."""
        return _without_warnings(super().on_timer(now))


class IntegrityMembers(ChainMembers):
    """Makes the machines: as in scenario "chain", but for the validation of some."""

    def dishonest(
        self, node: SimNode, entropy: Entropy, kind: type[validation.Validation]
    ) -> list[Hosted]:
        """The machines of `node`, with a validation of that kind."""
        machine = kind(SigningKey.of_seed(node.key.seed))
        made = [each for each in self.machines(node, entropy) if each.name != validation.NAME]
        bounds = {validation.PROTOCOL: Overflow.DROP_OLDEST}
        return [*made, Hosted(validation.NAME, machine, bounds)]

    def agent(self, node: SimNode) -> SigningKey:
        """The agent key of a node."""
        own = self.own(node)
        return own.tree.agent(own.device, DNA.id, 0)


def _without_warnings(effects: list[Effect]) -> list[Effect]:
    return [each for each in effects if not (isinstance(each, Call) and each.port in _KEPT_BACK)]


def _is_publish(body: bytes) -> bool:
    try:
        return decode_chain_question(body).publish is not None
    except DecodeError:
        return False
