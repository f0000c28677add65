"""Membranes: who may be in an overlay, and whether a proof says that somebody may.

Source: IPS paper, membranes and appendix D (M(n, phi, z): z is the proof); docs/wire.md,
"Membership"; docs/networks.md. Pure: what only a node knows comes through `Ports`. The
work that the id of every node costs, and the limit for each network prefix, are kept by
`dht/routing.py` in all overlays, the open ones too. Stake is a port: no ledger is behind it yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dms3.chain.membership import (
    Invited,
    Link,
    Proof,
    Worked,
    decode_proof,
    end_us,
    fields,
    hex_of,
    is_signed,
    items,
    whole,
    work_bits,
)
from dms3.core.codec import need
from dms3.core.errors import DecodeError
from dms3.core.limits import (
    ADMINS_MAX,
    IMMUNE_APPS_MAX,
    INVITATION_SIGNERS_MAX,
    MEMBERSHIP_LIFE_US_MAX,
    MEMBERSHIP_WORK_BITS_MAX,
)
from dms3.core.verdict import Abandoned, Invalid, Valid, in_date
from dms3.crypto.signing import PUBLIC_BYTES

OPEN = "open"


@dataclass(frozen=True, slots=True)
class Open:
    """Everybody; `said`: what an app says about it in words of its own, for its own rules."""

    said: str = OPEN


@dataclass(frozen=True, slots=True)
class Seed:
    """Whoever knows the seed from which the public key `key` was made."""

    key: bytes

    def __post_init__(self) -> None:
        need(len(self.key) == PUBLIC_BYTES, "the key of a seed has 32 bytes")


@dataclass(frozen=True, slots=True)
class Invite:
    """The admins `by`, and whom `needed` of them have invited."""

    by: tuple[bytes, ...]
    needed: int = 1

    def __post_init__(self) -> None:
        _check_keys(self.by)
        most = min(len(self.by), INVITATION_SIGNERS_MAX)
        need(1 <= self.needed <= most, f"needed is a number from 1 to {most}")


@dataclass(frozen=True, slots=True)
class Member:
    """The founders `by`, and whom any member has invited."""

    by: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _check_keys(self.by)


@dataclass(frozen=True, slots=True)
class Work:
    """Whoever has spent about 2**`bits` hashes on this overlay, this month."""

    bits: int

    def __post_init__(self) -> None:
        need(1 <= self.bits <= MEMBERSHIP_WORK_BITS_MAX, f"bits: 1 to {MEMBERSHIP_WORK_BITS_MAX}")


@dataclass(frozen=True, slots=True)
class Immune:
    """Everybody against whom fewer than `needed` of the members `by` hold a valid warrant.

    `apps`: the DNA ids of the apps in which they warn; (): in the app whose membrane it is.
    """

    by: tuple[bytes, ...]
    needed: int
    apps: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        _check_keys(self.by)
        need(len(self.apps) <= IMMUNE_APPS_MAX, f"it names {IMMUNE_APPS_MAX} apps at most")
        need(all(len(app) == PUBLIC_BYTES for app in self.apps), "an app's id has 32 bytes")
        need(list(self.apps) == sorted(set(self.apps)), "apps are sorted and distinct")
        need(1 <= self.needed <= len(self.by), f"needed is a number from 1 to {len(self.by)}")


@dataclass(frozen=True, slots=True)
class Stake:
    """Whoever has locked `amount` in the ledger."""

    amount: int

    def __post_init__(self) -> None:
        need(self.amount > 0, "an amount is more than nothing")


Membrane = Open | Seed | Invite | Member | Work | Immune | Stake


@dataclass(frozen=True, slots=True)
class Who:
    """Who wants to be in: the person `root`, and the key of one device, if it has one there."""

    root: bytes
    agent: bytes = b""


def _no_warrants(_apps: tuple[bytes, ...], _who: Who, _by: tuple[bytes, ...]) -> int:
    return 0


Staked = Callable[[bytes, Who, bytes], int | None]
"""How much somebody (second) has locked for an overlay (first) by what a proof (third) names.

b"" for a proof: as it stands now. None: there is no ledger to ask.
"""


def no_ledger(_overlay: bytes, _who: Who, _proof: bytes) -> None:
    """The port of stake where no ledger is."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What only a node knows. `warrants`: how many of the people `by` hold a valid one against who.

    Its arguments: ids of the apps in which they do, who, by. `stake`: what a ledger says.
    """

    warrants: Callable[[tuple[bytes, ...], Who, tuple[bytes, ...]], int] = field(
        default=_no_warrants
    )
    stake: Staked = field(default=no_ledger)


DATES = ("membrane-expired", "membrane-early")
"""Rules that a clock decides: whoever breaks them may be right by their own."""


def check(
    membrane: Membrane, overlay: bytes, who: Who, proof: bytes, wall_us: int, ports: Ports = Ports()
) -> Valid | Invalid:
    """Whether `who` may be in `overlay` at `wall_us`, by `proof` (b"": none).

    Rules: membrane-stake, -warranted, -missing, -form, -scheme, -overlay, -member, -expired,
    -early, -admin, -signature, -needed, -chain, -work.
    """
    if isinstance(membrane, Open):
        return Valid()
    if isinstance(membrane, Stake):
        return _check_stake(membrane, ports.stake(overlay, who, proof))
    if isinstance(membrane, Immune):
        return _check_warrants(membrane, overlay, who, ports)
    if who.root in founders(membrane):
        return Valid()
    return _check_proof(membrane, overlay, who, proof, wall_us)


def founders(membrane: Membrane) -> tuple[bytes, ...]:
    """Who is in without a proof, and may invite."""
    return membrane.by if isinstance(membrane, Invite | Member) else ()


def proof_end_us(proof: bytes) -> int | None:
    """From when on (wall clock) `proof` says nothing; None: there is none, or it has no form."""
    try:
        return end_us(decode_proof(proof)) if proof else None
    except DecodeError:
        return None


def words(membrane: Membrane) -> str:
    """Who may be in, as one clause for people."""
    if isinstance(membrane, Open):
        return "everybody" if membrane.said == OPEN else membrane.said
    return _WORDS[type(membrane)](membrane)


def _invite_words(membrane: Invite) -> str:
    if len(membrane.by) == 1:
        return "whom its admin invites"
    return f"whom {membrane.needed} of {len(membrane.by)} admins invite"


def _immune_words(membrane: Immune) -> str:
    if membrane.needed == 1:
        return "everybody of whom no admin has warned"
    return f"everybody of whom fewer than {membrane.needed} admins have warned"


_WORDS: dict[type, Callable[[Any], str]] = {
    Seed: lambda _: "whoever knows the seed",
    Invite: _invite_words,
    Member: lambda _: "whom any member invites",
    Work: lambda each: f"whoever spends work of {each.bits} bits a month",
    Immune: _immune_words,
    Stake: lambda each: f"whoever has {each.amount} at stake",
}


# Apps: an outer membrane, and inner ones by entry kind


@dataclass(frozen=True, slots=True)
class Gates:
    """Of an app: who may be in it, and who of those may make entries of some kinds."""

    outer: Membrane
    inner: tuple[tuple[str, Membrane], ...] = ()

    def of_kind(self, kind: str) -> Membrane | None:
        """What entries of that kind ask for, beside being in."""
        return next((each for name, each in self.inner if name == kind), None)


def gates_of(values: Any) -> Gates:
    """The membranes in the JSON values of a DNA; ValueError when they are none.

    `{"outer": ..., "inner": {KIND: ...}}`, or the outer one alone.
    """
    if type(values) is not dict or "inner" not in values:
        return Gates(_of_app(membrane_of(values)))
    outer, inner = fields(values, ("outer", "inner"))
    need(type(inner) is dict, "inner membranes are a table by entry kind")
    kinds = tuple((kind, _of_app(membrane_of(inner[kind]))) for kind in sorted(inner))
    return Gates(_of_app(membrane_of(outer)), kinds)


# What all proofs have


def _check_proof(
    membrane: Seed | Invite | Member | Work, overlay: bytes, who: Who, proof: bytes, wall_us: int
) -> Valid | Invalid:
    if not proof:
        return Invalid("membrane-missing", f"nothing says that they may: {words(membrane)}")
    try:
        found = decode_proof(proof)
    except DecodeError as error:
        return Invalid("membrane-form", error.reason)
    wrong = _check_binding(membrane, overlay, who, found, wall_us)
    return wrong or _JUDGES[type(membrane)](membrane, found) or Valid()


def _check_binding(
    membrane: Membrane, overlay: bytes, who: Who, proof: Proof, wall_us: int
) -> Invalid | None:
    scheme = "invite" if isinstance(membrane, Invite | Member) else _scheme(membrane)
    if proof.scheme != scheme:
        return Invalid("membrane-scheme", f"it is a proof by {proof.scheme}, not by {scheme}")
    if proof.overlay != overlay:
        return Invalid("membrane-overlay", "it is for another overlay")
    if proof.to not in (who.root, who.agent):
        return Invalid("membrane-member", "it is somebody else's")
    if isinstance(proof, Worked):
        dates = [(proof.since_us, proof.since_us + MEMBERSHIP_LIFE_US_MAX)]
    else:
        dates = [(link.since_us, link.until_us) for link in proof.links]
    for since_us, until_us in dates:
        verdict = in_date(since_us, until_us, wall_us)
        if isinstance(verdict, Abandoned):
            rule = "membrane-expired" if until_us <= wall_us else "membrane-early"
            return Invalid(rule, f"the proof is {verdict.reason}")
    return None


# What each scheme asks


def _judge_seed(membrane: Seed, proof: Invited) -> Invalid | None:
    return _check_signers(proof, proof.links[0], (membrane.key,), 1)


def _judge_invite(membrane: Invite, proof: Invited) -> Invalid | None:
    if len(proof.links) != 1:
        return Invalid("membrane-chain", "only admins may invite, and a member has passed it on")
    return _check_signers(proof, proof.links[0], membrane.by, membrane.needed)


def _judge_member(membrane: Member, proof: Invited) -> Invalid | None:
    may = membrane.by
    for link in proof.links:
        if len(link.signed) != 1 or link.signed[0].by not in may:
            return Invalid("membrane-chain", "who invited them was not a member")
        wrong = _check_signers(proof, link, may, 1)
        if wrong is not None:
            return wrong
        may = (link.to,)
    return None


def _judge_work(membrane: Work, proof: Worked) -> Invalid | None:
    bits = work_bits(proof)
    if bits >= membrane.bits:
        return None
    return Invalid("membrane-work", f"it has cost {bits} bits, not {membrane.bits}")


_JUDGES: dict[type, Callable[[Any, Any], Invalid | None]] = {
    Seed: _judge_seed,
    Invite: _judge_invite,
    Member: _judge_member,
    Work: _judge_work,
}


def _check_signers(
    proof: Invited, link: Link, may: tuple[bytes, ...], needed: int
) -> Invalid | None:
    for signed in link.signed:
        if signed.by not in may:
            return Invalid("membrane-admin", "it is signed by somebody who may not invite")
        if not is_signed(proof, link, signed):
            return Invalid("membrane-signature", "a signature does not fit what it says")
    if len(link.signed) < needed:
        return Invalid("membrane-needed", f"{len(link.signed)} of {needed} admins have signed it")
    return None


def _check_warrants(membrane: Immune, overlay: bytes, who: Who, ports: Ports) -> Valid | Invalid:
    against = ports.warrants(membrane.apps or (overlay,), who, membrane.by)
    if against < membrane.needed:
        return Valid()
    return Invalid("membrane-warranted", f"{against} of its admins have warned of them")


def _check_stake(membrane: Stake, locked: int | None) -> Valid | Invalid:
    if locked is None:
        return Invalid("membrane-stake", "stake needs the ledger")
    if locked < membrane.amount:
        return Invalid("membrane-stake", f"{locked} of {membrane.amount} are at stake")
    return Valid()


# The form


def membrane_of(values: Any) -> Membrane:
    """The membrane in the JSON values of a DNA or network; ValueError when it is none.

    Text is an open membrane: what it says is for people and the app's own rules.
    """
    if type(values) is str:
        return Open(values)
    scheme = values.get("scheme") if type(values) is dict else None
    if type(scheme) is not str or scheme not in _FORMS:
        known = ", ".join(sorted(_FORMS))
        raise ValueError(f"a membrane is text, or a table whose scheme is one of {known}")
    names, make = _FORMS[scheme]
    if scheme == "immune" and "apps" in values:
        names = (*names, "apps")
        need(bool(values["apps"]), "apps are named, or left out")
    return make(*fields(values, names, ("scheme",)))


def membrane_values(membrane: Membrane) -> Any:
    """The one form of a membrane as JSON values: `membrane_of` reads it."""
    match membrane:
        case Open(said):
            return said
        case Seed(key):
            return {"scheme": "seed", "key": key.hex()}
        case Invite(by, needed) | Immune(by, needed):
            texts = [each.hex() for each in by]
            found: dict[str, Any] = {"scheme": _scheme(membrane), "by": texts, "needed": needed}
            apps = membrane.apps if isinstance(membrane, Immune) else ()
            return found | ({"apps": [app.hex() for app in apps]} if apps else {})
        case Member(by):
            return {"scheme": "member", "by": [each.hex() for each in by]}
        case Work(bits):
            return {"scheme": "work", "bits": bits}
        case Stake(amount):
            return {"scheme": "stake", "amount": amount}
    raise AssertionError("every membrane has a form")


_FORMS: dict[str, tuple[tuple[str, ...], Callable[..., Membrane]]] = {
    "seed": (("key",), lambda key: Seed(hex_of(key))),
    "invite": (("by", "needed"), lambda by, needed: Invite(_keys(by), whole(needed))),
    "member": (("by",), lambda by: Member(_keys(by))),
    "work": (("bits",), lambda bits: Work(whole(bits))),
    "immune": (
        ("by", "needed"),
        lambda by, needed, apps=None: Immune(_keys(by), whole(needed), _keys(apps or [])),
    ),
    "stake": (("amount",), lambda amount: Stake(whole(amount))),
}


def _of_app(membrane: Membrane) -> Membrane:
    """A membrane of an app: the warrants that count are those in it."""
    need(not (isinstance(membrane, Immune) and membrane.apps), "an app heeds its own warrants")
    return membrane


def _scheme(membrane: Membrane) -> str:
    return type(membrane).__name__.lower()


def _keys(value: Any) -> tuple[bytes, ...]:
    return tuple(hex_of(each) for each in items(value))


def _check_keys(keys: tuple[bytes, ...]) -> None:
    need(1 <= len(keys) <= ADMINS_MAX, f"it names 1 to {ADMINS_MAX} keys")
    need(all(len(key) == PUBLIC_BYTES for key in keys), "a key has 32 bytes, 64 letters in hex")
    need(list(keys) == sorted(set(keys)), "keys are sorted and distinct")
