"""Nodes that break rules, in scenario "integrity": production machines that answer otherwise.

Source: docs/simulator.md, "The scenario integrity". What they send, every real node could send.
"""

from __future__ import annotations

from dms3.chain.messages import decode_chain_question
from dms3.core.errors import DecodeError, Failure
from dms3.core.machine import Call, Called, Effect, Event, Now, Reply, Requested
from dms3.core.verdict import Valid
from dms3.validation.validation import Validation

_SILENT = Failure("not_found", "There is nothing here.")
_KEPT_BACK = ("source.warrant", "gossip.spread")


class Lawless(Validation):
    """Whatever this node wants to write is valid."""

    def on_event(self, event: Event, now: Now) -> list[Effect]:
        """As everybody's, but for the verdict on its own actions."""
        if isinstance(event, Called) and event.operation == "judge":
            return [Reply(event.request, Valid())]
        return super().on_event(event, now)


class Silent(Validation):
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


def _without_warnings(effects: list[Effect]) -> list[Effect]:
    return [each for each in effects if not (isinstance(each, Call) and each.port in _KEPT_BACK)]


def _is_publish(body: bytes) -> bool:
    try:
        return decode_chain_question(body).publish is not None
    except DecodeError:
        return False
