"""What subsystems ask of machine "names": who a dm3 name is, and who vouches for that.

Source: docs/architecture.md, "Names". Types only; `names/` is the machine. The calls:

| call | arguments | answer |
|---|---|---|
| `names.resolve` | Resolve | Resolved |
| `names.own` | None | OwnNames |
| `names.publish` | PublishProfile | Published |
| `names.claim` | the wanted name, such as "alice.dms3" | Resolved |
| `names.add` | a name of ENS whose address is the person's account | Resolved |
| `names.use` | one of the person's names, to be the primary one | OwnNames |
| `names.drop` | one of the person's names, to be given up | OwnNames |
| `names.forget` | a first-come name, to be believed anew | whether it was known |

Every answer may be a Failure: `not_found` (nobody has this name), `argument_invalid` (no name),
`timed_out` and `peer_unreachable` (could not be asked: try later), `content_invalid` (the record
is there and wrong: says which check failed).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from dms3.dm3.profile import ServiceProfile, SignedProfile

Voucher = Literal["card", "ens", "dms3", "address"]
"""Who says so: a card of the person, the Ethereum Name Service, a first-come name of the public
overlay, or ("address") the name itself because it contains the key or the address."""


@dataclass(frozen=True, slots=True)
class Resolve:
    """Ask who `name` is. `fresh`: not from the cache, because a profile seems to have changed."""

    name: str
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Resolved:
    """What is known of `name` (normalised): checked, whoever the voucher is.

    `address`: the checksummed Ethereum address behind the name, "" for a name without one.
    `profile`: the person's profile, whose signature by `address` was verified; None: has none.
    `service`: the delivery service of that name, None: is none. `vouched`: who says so.
    `fingerprint`: of the keys, short, for people to compare (8 groups of 4 hex digits), "" without
    a profile. `root`: hex of the person's root when the voucher is a card or a dms3 name.
    `aliases`: other names known to have the same address. `until_us`: wall clock; asked again then.
    """

    name: str
    address: str
    profile: SignedProfile | None
    service: ServiceProfile | None
    vouched: Voucher
    fingerprint: str
    root: str = ""
    aliases: tuple[str, ...] = ()
    until_us: int = 0


@dataclass(frozen=True, slots=True)
class OwnNames:
    """The names of this node's person: `primary` is the `from` of messages.

    `key_name`: the self-certifying name, always there: BASE32(root) + ".dms3". `service_name`: that
    of this node as a delivery service: BASE32(node key) + ".dms3". `names`: all, primary first.
    """

    primary: str
    key_name: str
    service_name: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishProfile:
    """Make the person's `profile`, and this node's `service` when it is one, known under own names.

    Puts the signed records of `key_name` (and claimed names) and `service_name` into the public
    overlay, now and again before they expire. ENS records are written by the person's wallet.
    `address`: the account that signed the profile, "" for that of the person's twelve words.
    """

    profile: SignedProfile = field(repr=False)
    service: ServiceProfile | None = None
    address: str = ""


@dataclass(frozen=True, slots=True)
class Published:
    """How many nodes hold the records."""

    holders: int
