"""Challenges that are answered once: a copy of an answer opens no second session.

Source: docs/dm3.md, "Delivery service"; `dm3/token.py`. Only challenges of this very process count,
so nothing has to be kept: which were used is remembered until they would be over anyway.
"""

from __future__ import annotations

import hmac

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import MAIL_CHALLENGES_SPENT_MAX
from dms3.core.machine import Entropy
from dms3.dm3.naming import same_name
from dms3.dm3.token import Challenge, issue_challenge, read_challenge

_KEY_BYTES = 32
_RANDOM_BYTES = 8  # of the 16 of an id; most of the others say that this process made it
_TAG_BYTES = 7


class Challenges:
    """The challenges of one service; `secret`: that of its tokens."""

    def __init__(self, secret: str, entropy: Entropy) -> None:
        self._secret = secret
        self._ids = _Ids(entropy)
        self._spent: dict[str, int] = {}  # id -> until (seconds), the oldest first
        self._forgotten_s = 0  # of what is not remembered any more, the latest end

    def issue(self, account: str, wall_s: int) -> str:
        """A challenge for the name `account`: a JWT, all of which is to be signed."""
        return issue_challenge(self._secret, account, wall_s, self._ids)

    def read(self, token: str, account: str, wall_s: int) -> Challenge:
        """The challenge in `token`, for `account` and not used yet; raises `unauthorized`."""
        try:
            challenge = read_challenge(self._secret, token, wall_s)
        except DecodeError as error:
            raise _refused(f"The challenge is not valid: {error.reason}.") from error
        if not same_name(challenge.account, account):
            raise _refused("The challenge is for another name.")
        if not self._ids.made(challenge.id):
            raise _refused("The challenge is older than this service.")
        if challenge.id in self._spent:
            raise _refused("The challenge was used already.")
        if challenge.until_s <= self._forgotten_s:
            raise _refused("So many people log in that this challenge was answered too late.")
        return challenge

    def spend(self, challenge: Challenge, wall_s: int) -> None:
        """Remember that `challenge`, just read, was answered.

        When too many were, the oldest are forgotten and all as old as those refused: nobody who
        logs in without end keeps others from it.
        """
        self._spent[challenge.id] = challenge.until_s
        while self._spent:
            oldest = next(iter(self._spent))
            until_s = self._spent[oldest]
            if until_s > wall_s and len(self._spent) <= MAIL_CHALLENGES_SPENT_MAX:
                break
            self._forgotten_s = max(self._forgotten_s, until_s)
            del self._spent[oldest]


class _Ids:
    """An Entropy for ids: random bytes, and a keyed hash of them that this process alone makes."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._key = entropy.draw(_KEY_BYTES)

    def draw(self, count: int) -> bytes:
        """`count` bytes."""
        data = bytearray(self._entropy.draw(_RANDOM_BYTES))
        data[6] = data[6] & 0x0F | 0x40  # as RFC 9562 will have it
        return (bytes(data) + self._tag(bytes(data)))[:count]

    def made(self, identifier: str) -> bool:
        """Whether `identifier` (32 hex digits and hyphens) came from `draw`."""
        try:
            data = bytes.fromhex(identifier.replace("-", ""))
        except ValueError:
            return False
        tag = self._tag(data[:_RANDOM_BYTES])
        return hmac.compare_digest(data[_RANDOM_BYTES + 1 :], tag[1:])  # one has two bits set

    def _tag(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, "sha256")[: _TAG_BYTES + 1]


def _refused(message: str) -> Dms3Error:
    return Dms3Error("unauthorized", message, hint="Ask for a new one and sign that.")
