"""The gate: whether this peer may ask this of this space now, and how often it may ask at all.

Source: docs/architecture.md, "Private by default"; docs/attacks.md. Every question brings its
proof; what was checked once is remembered (bounded), what depends on time or on withdrawal is
checked every time. Knows nothing of documents, so a refusal says nothing about them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dms3.core.errors import Failure, Retry
from dms3.core.ids import PeerId, Root, SpaceId
from dms3.core.limits import PROOFS_KEPT_MAX
from dms3.core.machine import Now
from dms3.crypto.certificate import Certificate, check_certificate_dates
from dms3.crypto.grant import Grant, Proof, check_grant_dates, check_proof, check_use
from dms3.search.grants import GivenBook

FORGERIES = ("grant_invalid", "certificate_invalid")  # an honest peer never shows these
WITHDRAWN = Failure("grant_missing", "The grant was withdrawn.")
TOO_OFTEN = Failure("limit_reached", "You ask too often; wait a moment.", Retry.LATER)


class Gate:
    """Checks proofs against the grants `root` has given."""

    def __init__(self, root: Root, given: GivenBook) -> None:
        self._root = root
        self._given = given
        self._checked: dict[tuple[PeerId, bytes, bytes], tuple[Grant, Certificate]] = {}

    def check(self, proof: Proof, space: SpaceId, right: str, peer: PeerId, now: Now) -> Grant:
        """The grant by which `peer` may use `right` on `space`; else raise what it is to be told.

        `grant_invalid`, `grant_expired`, `grant_missing` (withdrawn or never given, or without
        this right), `certificate_invalid`, `certificate_expired`, `not_yet_valid`.
        """
        key = (peer, proof.grant, proof.certificate)
        pair = self._checked.get(key)
        if pair is None:
            pair = check_proof(proof, self._root, space, peer, now.wall_us)
            if len(self._checked) >= PROOFS_KEPT_MAX:
                del self._checked[next(iter(self._checked))]
            self._checked[key] = pair
        grant, certificate = pair
        check_grant_dates(grant, now.wall_us)
        check_certificate_dates(certificate, now.wall_us)
        check_use(grant, space, right)
        given = self._given.get(grant.serial)
        if given is None or given.record.grant != proof.grant:
            raise WITHDRAWN.error()
        return grant

    def stands(self, grant: Grant) -> bool:
        """Whether `grant` has not been withdrawn since it was checked."""
        return self._given.get(grant.serial) is not None


@dataclass(slots=True)
class Pace:
    """How often each peer may ask: `cost_us` per question, after a burst of `burst_us` worth.

    A peer's line is the monotonic instant up to which it has used its time; it may run ahead of
    the clock by the burst.
    """

    cost_us: int
    burst_us: int
    _lines: dict[PeerId, int] = field(default_factory=dict)

    def admit(self, peer: PeerId, now: Now) -> bool:
        """Count one question of `peer`; False when it asks too often."""
        line = max(self._lines.get(peer, now.mono_us), now.mono_us) + self.cost_us
        if line > now.mono_us + self.burst_us:
            return False
        self._lines[peer] = line
        return True

    def forget(self, peer: PeerId) -> None:
        """The peer has gone; bounds the table by the connections."""
        self._lines.pop(peer, None)
