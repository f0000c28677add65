"""Who may use an app from a browser or a program: codes, sessions and tokens, of one app each.

Source: docs/dapps.md, "The page". Everything is in memory, as hashes: a restart ends all of them. A
secret is good for the functions of its app and nothing else; what those are is not known here.
"""

from __future__ import annotations

import base64
import hashlib
from collections import OrderedDict

from dms3.core.limits import DAPP_LOGINS_MAX, LOGIN_CODE_US_MAX, SESSION_US_MAX
from dms3.core.machine import Entropy
from dms3.node.library import Clock

SECRET_BYTES = 32


class DappLogins:
    """Codes and sessions of one node; an app is named by its number in the database."""

    def __init__(self, entropy: Entropy, clock: Clock) -> None:
        self._entropy = entropy
        self._clock = clock
        self._codes: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # hash -> app, end
        self._sessions: OrderedDict[bytes, tuple[int, int]] = OrderedDict()

    def code(self, dapp: int) -> str:
        """A fresh code that one browser may exchange within a minute."""
        return self._new(self._codes, dapp, LOGIN_CODE_US_MAX)

    def exchange(self, dapp: int, code: str) -> str | None:
        """A session for a code of `dapp` that was never used; None otherwise."""
        found = self._codes.pop(_hash(code), None)
        if found is None or found[0] != dapp or found[1] <= self._clock.now().mono_us:
            return None
        return self.session(dapp)

    def session(self, dapp: int) -> str:
        """A secret that is good for `dapp` alone."""
        return self._new(self._sessions, dapp, SESSION_US_MAX)

    def admitted(self, secret: str) -> int | None:
        """The app that `secret` is good for, or None."""
        found = self._sessions.get(_hash(secret))
        return found[0] if found and found[1] > self._clock.now().mono_us else None

    def end(self, dapp: int) -> None:
        """Nothing is good for `dapp` any more: it was removed."""
        for kept in (self._codes, self._sessions):
            for key in [key for key, (of, _) in kept.items() if of == dapp]:
                del kept[key]

    def _new(self, kept: OrderedDict[bytes, tuple[int, int]], dapp: int, life_us: int) -> str:
        secret = base64.urlsafe_b64encode(self._entropy.draw(SECRET_BYTES)).decode().rstrip("=")
        kept[_hash(secret)] = (dapp, self._clock.now().mono_us + life_us)
        while len(kept) > DAPP_LOGINS_MAX:
            kept.popitem(last=False)
        return secret


def _hash(secret: str) -> bytes:
    # Looking up a hash takes no time that depends on how much of a guess was right.
    return hashlib.sha256(secret.encode(errors="replace")).digest()
