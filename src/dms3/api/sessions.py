"""Who is logged in on the page: single-use login codes and the sessions they are exchanged for.

Source: docs/api.md, "The page". Everything is in memory: a restart logs everybody out. It knows
nothing of HTTP.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict
from typing import Protocol

from dms3.core.limits import (
    LOGIN_CODE_US_MAX,
    LOGIN_CODES_MAX,
    SESSION_FRESH_US_MAX,
    SESSION_US_MAX,
    SESSIONS_MAX,
)
from dms3.core.machine import Entropy, Now

SECRET_BYTES = 32


class Clock(Protocol):
    """Where the time comes from (`io/clock.py`)."""

    def now(self) -> Now:
        """This instant."""
        ...


class Sessions:
    """Login codes and sessions of one node; only their hashes are kept."""

    def __init__(self, entropy: Entropy, clock: Clock) -> None:
        self._entropy = entropy
        self._clock = clock
        self._codes = _Expiring(LOGIN_CODES_MAX, LOGIN_CODE_US_MAX)
        self._sessions = _Expiring(SESSIONS_MAX, SESSION_US_MAX)
        self._proofs = _Expiring(SESSIONS_MAX, SESSION_FRESH_US_MAX)

    def code(self) -> str:
        """A fresh code that one browser may exchange within a minute."""
        return self._new(self._codes)

    def exchange(self, code: str) -> str | None:
        """A session for a code that was never used and is not a minute old; None otherwise."""
        if not self._codes.take(_hash(code), self._clock.now().mono_us):
            return None
        return self._new(self._sessions)

    def proof(self, session: str) -> str:
        """What shows for some minutes that whoever presents `session` is who has just logged in.

        Cookies reach every port of a host, so a session alone may have been seen by others.
        """
        proof = _secret(self._entropy)
        self._proofs.put(_hash(session + proof), self._clock.now().mono_us)
        return proof

    def valid(self, session: str) -> bool:
        """Whether `session` came from `exchange` and has not ended."""
        return self._sessions.has(_hash(session), self._clock.now().mono_us)

    def proven(self, session: str, proof: str) -> bool:
        """Whether `session` is valid and `proof` was made for it a few minutes ago."""
        now_us = self._clock.now().mono_us
        return self.valid(session) and self._proofs.has(_hash(session + proof), now_us)

    def end(self, session: str) -> None:
        """Log out."""
        self._sessions.take(_hash(session), self._clock.now().mono_us)

    def _new(self, kept: _Expiring) -> str:
        secret = _secret(self._entropy)
        kept.put(_hash(secret), self._clock.now().mono_us)
        return secret


class _Expiring:
    """At most `most` hashes, each for `life_us`; the oldest goes first."""

    def __init__(self, most: int, life_us: int) -> None:
        self._most = most
        self._life_us = life_us
        self._until: OrderedDict[bytes, int] = OrderedDict()

    def put(self, key: bytes, now_us: int) -> None:
        self._until[key] = now_us + self._life_us
        while len(self._until) > self._most:
            self._until.popitem(last=False)

    def has(self, key: bytes, now_us: int) -> bool:
        return self._until.get(key, now_us) > now_us

    def take(self, key: bytes, now_us: int) -> bool:
        return self._until.pop(key, now_us) > now_us


def _secret(entropy: Entropy) -> str:
    return base64.urlsafe_b64encode(entropy.draw(SECRET_BYTES)).decode().rstrip("=")


def _hash(secret: str) -> bytes:
    # Looking up a hash takes no time that depends on how much of a guess was right.
    return hashlib.sha256(secret.encode(errors="replace")).digest()
