"""Proofs of membership, membranes, networks and invitations: what others hand over."""

from dms3.chain.membership import (
    Link,
    cosign,
    decode_proof,
    encode_proof,
    invite,
    prove_seed,
    prove_work,
)
from dms3.chain.membrane import Immune, Invite, Seed, Who, Work, check, gates_of, membrane_values
from dms3.chain.networks import (
    VERSION,
    At,
    Invitation,
    decode_invitation,
    decode_network,
    encode_network,
    invitation_text,
    make_network,
    parse_invitation,
)
from dms3.chain.values import decode_values, encode_values
from dms3.core.codec import encode
from dms3.core.errors import DecodeError
from dms3.core.verdict import Valid
from dms3.crypto.certificate import PEER_ID_PREFIX
from dms3.crypto.signing import SigningKey

_NOW_US = 1_800_000_000_000_000
_ADMIN, _SECOND = SigningKey.of_seed(b"a" * 32), SigningKey.of_seed(b"b" * 32)
_CLUB, _TO = b"c" * 32, b"t" * 32
_BOTH = Invite(tuple(sorted((_ADMIN.public, _SECOND.public))), 2)
_LINK = Link(_TO, _NOW_US, _NOW_US + 1_000_000)
_PROOFS = [
    encode_proof(cosign(_SECOND, invite(_ADMIN, _CLUB, _LINK))),
    encode_proof(prove_seed(_ADMIN, _CLUB, _TO, _NOW_US)),
    encode_proof(prove_work(_CLUB, _TO, _NOW_US, 4)),
]
_IMMUNE = Immune(_BOTH.by, 2, (b"d" * 32,))
_MEMBRANES = [_BOTH, Seed(_ADMIN.public), Work(20), Immune(_BOTH.by, 1)]
_NETWORK = make_network("club", _BOTH, b"s" * 32, local=False)
_WATCH = make_network("watch", _IMMUNE, b"s" * 32, local=False)
_INVITATION = Invitation(
    VERSION,
    encode_network(_NETWORK),
    _TO,
    _PROOFS[0],
    (At(PEER_ID_PREFIX + bytes(32), ("/ip4/192.0.2.1/tcp/7701",)),),
)


def open_membrane(data: bytes) -> None:
    """A proof that does not hold opens nothing, and is refused without an exception."""
    verdict = check(_BOTH, _CLUB, Who(_TO), data, _NOW_US)
    if not isinstance(verdict, Valid):
        raise DecodeError(0, verdict.detail)


def membrane(data: bytes) -> None:
    """Membranes in the values of a DNA."""
    try:
        gates_of(decode_values(data, "membrane"))
    except ValueError as error:
        raise DecodeError(0, str(error)) from error


FUZZ = {
    "proof of membership": decode_proof,
    "proof as judged": open_membrane,
    "membrane": membrane,
    "network": decode_network,
    "invitation": decode_invitation,
    "invitation as text": lambda data: parse_invitation(data.decode("utf-8", "replace")),
}
SEEDS = {
    "proof of membership": _PROOFS,
    "proof as judged": _PROOFS[:1],
    "membrane": [
        *(encode_values(membrane_values(each), "membrane") for each in _MEMBRANES),
        encode_values({"outer": "open", "inner": {"x": membrane_values(_BOTH)}}, "membrane"),
    ],
    "network": [encode_network(_NETWORK), encode_network(_WATCH)],
    "invitation": [encode(_INVITATION)],
    "invitation as text": [invitation_text(_INVITATION).encode()],
}
_NESTED = (
    "a membrane and a proof lie in most of them: together they get a quarter of the inputs of one"
)
COUNTS = dict.fromkeys(FUZZ, (4_000, _NESTED)) | {
    "invitation as text": (2_000, "base32 of two kilobytes, a membrane and a proof in each")
}
