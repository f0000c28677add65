"""Offers and withdrawals that arrive: checked, then kept if their issuer is a contact of ours.

Source: docs/wire.md, "/dms3/grant/1"; docs/attacks.md. An offer counts only from a device that its
issuer has certified, over that device's own connection, so nobody can replay another's.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.errors import DecodeError, Dms3Error, Failure, Retry
from dms3.core.ids import PeerId, RequestId, Root, Token, short
from dms3.core.limits import (
    GRANT_BURST_US,
    GRANT_COST_US,
    OFFERS_OPEN_MAX,
)
from dms3.core.machine import Call, Cancel, Effect, Notify, Now, Reply, Requested
from dms3.crypto.certificate import check_certificate, decode_certificate
from dms3.crypto.grant import FOREVER_US, Grant, check_grant, decode_grant
from dms3.search.gate import FORGERIES, TOO_OFTEN, Pace
from dms3.search.grants import ReceivedBook
from dms3.search.messages import RECEIPT, GrantMessage, decode_grant_message
from dms3.search.operations import FLOOD, FORGED, MALFORMED, Penalty

PREFIX = "contact:"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A checked message that waits for the answer whether `issuer` is a contact."""

    request: RequestId
    peer: PeerId
    issuer: Root
    grant: Grant | None  # None: a withdrawal of `serial`
    name: str
    serial: bytes


class Offers:
    """The reader's side of grants; `root` is the person this node belongs to."""

    def __init__(self, root: Root, received: ReceivedBook) -> None:
        self._root = root
        self._received = received
        self._pace = Pace(GRANT_COST_US, GRANT_BURST_US)
        self._open: dict[Token, _Waiting] = {}
        self._next = 0

    def requested(self, event: Requested, now: Now) -> tuple[list[Effect], Penalty | None]:
        """Check a message; its answer, or the question whether its issuer is a contact."""
        peer = event.peer
        if not self._pace.admit(peer, now):
            refusal: list[Effect] = [Reply(event.request, TOO_OFTEN)]
            return refusal, Penalty(peer, FLOOD)
        if len(self._open) >= OFFERS_OPEN_MAX:
            return [Reply(event.request, TOO_OFTEN)], None
        try:
            waiting = self._read(decode_grant_message(event.body), event, now)
        except DecodeError as error:
            failure = Failure("decode_failed", error.reason)
            return [Reply(event.request, failure)], Penalty(peer, MALFORMED)
        except Dms3Error as error:
            blame = Penalty(peer, FORGED) if error.code in FORGERIES else None
            return [Reply(event.request, Failure.of(error))], blame
        if self._received.get(waiting.issuer, waiting.serial) is not None:
            return self._settle(waiting, now), None  # accepted before: no need to ask again
        self._next += 1
        token = Token(f"{PREFIX}{self._next}")
        self._open[token] = waiting
        return [Call("peers.contact_find", waiting.issuer.hex(), token)], None

    def answered(self, token: Token, body: object, now: Now) -> list[Effect]:
        """Whether the issuer is a contact: something with its root, or not."""
        waiting = self._open.pop(token, None)
        if waiting is None:
            return []
        if isinstance(body, Failure) and body.retry is not Retry.NEVER:
            return [Reply(waiting.request, TOO_OFTEN)]  # the peer book is busy
        if getattr(body, "root", None) != waiting.issuer:  # contacts are also found by name
            message = f"{short(waiting.issuer)} is not a contact of this node."
            return [Reply(waiting.request, Failure("contact_unknown", message, Retry.LATER))]
        return self._settle(waiting, now)

    def withdrawn(self, request: RequestId) -> list[Effect]:
        """The peer no longer waits; it will offer again."""
        tokens = [token for token, each in self._open.items() if each.request == request]
        for token in tokens:
            del self._open[token]
        return [Cancel(token) for token in tokens]

    def peer_down(self, peer: PeerId) -> None:
        """Forget how often the peer has offered."""
        self._pace.forget(peer)

    def _read(self, message: GrantMessage, event: Requested, now: Now) -> _Waiting:
        certificate = decode_certificate(message.certificate)
        issuer = Root(certificate.root)
        check_certificate(certificate, issuer, event.peer, now.wall_us)
        if message.grant is None:
            assert message.serial is not None
            return _Waiting(event.request, event.peer, issuer, None, "", message.serial)
        grant = decode_grant(message.grant)
        check_grant(grant, issuer, now.wall_us)
        if grant.reader != self._root:
            raise Dms3Error("grant_invalid", "The grant is for another person than this node's.")
        return _Waiting(event.request, event.peer, issuer, grant, message.name, grant.serial)

    def _settle(self, waiting: _Waiting, now: Now) -> list[Effect]:
        if waiting.grant is None:
            return self._withdraw(waiting)
        if self._received.was_withdrawn(waiting.issuer, waiting.serial):
            failure = Failure("grant_missing", "This grant was withdrawn by its issuer.")
            return [Reply(waiting.request, failure)]
        known = self._received.get(waiting.issuer, waiting.serial) is not None
        effects = self._received.prune(now.wall_us)
        try:
            effects += self._received.put(waiting.grant, waiting.name, waiting.peer)
        except Dms3Error as error:
            return [*effects, Reply(waiting.request, Failure.of(error))]
        if not known:
            effects.append(Notify("grant.received", _told(waiting.grant, waiting.name)))
        return [*effects, Reply(waiting.request, RECEIPT)]

    def _withdraw(self, waiting: _Waiting) -> list[Effect]:
        held = self._received.get(waiting.issuer, waiting.serial)
        until_us = FOREVER_US if held is None else held.grant.until_us
        effects = self._received.withdraw(waiting.issuer, waiting.serial, until_us)
        if held is not None and not self._stands(held.grant):
            effects.append(Notify("grant.withdrawn", _told(held.grant, held.record.name)))
        return [*effects, Reply(waiting.request, RECEIPT)]

    def _stands(self, gone: Grant) -> bool:
        """Whether another grant on the same space has replaced the one that is `gone`."""
        return any(
            (each.grant.issuer, each.grant.space) == (gone.issuer, gone.space)
            for each in self._received
        )


def _told(grant: Grant, name: str) -> dict[str, object]:
    return {
        "space": grant.space.hex(),
        "name": name,
        "issuer": grant.issuer.hex(),
        "rights": list(grant.rights),
        "until_us": grant.until_us,
    }
