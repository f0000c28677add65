"""The probe of /dms3/peer/1: is there a dms3 of our network, does it live, and how far is it?

Source: docs/wire.md, "/dms3/peer/1". Plain state that `p2p/peers.py` drives.
"""

from __future__ import annotations

from dataclasses import dataclass

from dms3.core.codec import decode, encode, need_at_most
from dms3.core.ids import PeerId, Token
from dms3.core.limits import PROBE_BYTES_MAX, PROBE_TIMEOUT_US, WAKE_PROBE_US
from dms3.core.machine import Cancel, Effect, Entropy, Now, Request

PROTOCOL = "/dms3/peer/1"
MINORS = (0,)
NONCE_BYTES = 8


@dataclass(frozen=True, slots=True)
class Probe:
    """Question and answer of /dms3/peer/1: the answer repeats the question's `nonce`."""

    nonce: bytes


def decode_probe(body: bytes) -> Probe:
    """The probe in `body`; raises DecodeError, and nothing else."""
    need_at_most(body, PROBE_BYTES_MAX, "a probe")
    return decode(Probe, body)


@dataclass(frozen=True, slots=True)
class Probing:
    """A probe under way. `vital`: when it is not answered in time, the connection is dead."""

    peer: PeerId
    since_us: int
    vital: bool


class Probes:
    """The probes under way, by token."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._open: dict[Token, Probing] = {}
        self._count = 0

    def ask(self, peer: PeerId, now: Now, *, vital: bool = False) -> Request:
        """The question to send."""
        self._count += 1
        token = Token(f"probe/{self._count}")
        self._open[token] = Probing(peer, now.mono_us, vital)
        body = encode(Probe(self._entropy.draw(NONCE_BYTES)))
        wait_us = WAKE_PROBE_US if vital else PROBE_TIMEOUT_US
        return Request(peer, PROTOCOL, body, token, now.mono_us + wait_us)

    def ended(self, token: Token) -> Probing | None:
        """The probe that `token` names, which has its answer; None when it names none."""
        return self._open.pop(token, None)

    def gone(self, peer: PeerId) -> list[Effect]:
        """The connection has closed: its probes are forgotten."""
        tokens = [token for token, probing in self._open.items() if probing.peer == peer]
        for token in tokens:
            del self._open[token]
        return [Cancel(token) for token in tokens]
