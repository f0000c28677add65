"""Contact cards: how a person's root, node and addresses get from one person to another.

Source: docs/wire.md, "Contact card". A card is signed by the root it names. Its text form is
`dms3:` and base32, one line without a character that mail changes; line breaks, spaces and capitals
put in on the way are tolerated. A card proves who wrote it, not that you know that person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dms3.core.codec import INTEGER_MAX, decode, encode, need, need_at_most
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import PeerId
from dms3.core.limits import (
    ADDRESS_CHARS_MAX,
    ADDRESSES_PER_PEER_MAX,
    CARD_BYTES_MAX,
    CERTIFICATE_BYTES_MAX,
    CLOCK_AHEAD_US_MAX,
    NAME_CHARS_MAX,
)
from dms3.core.multibase import decode_base32, encode_base32
from dms3.crypto.certificate import is_node_peer_id
from dms3.crypto.signed import is_signed_by, signed_by
from dms3.crypto.signing import PUBLIC_BYTES, SIGNATURE_BYTES, SigningKey

DOMAIN = b"contact card"
PREFIX = "dms3:"
VERSION = 1
TEXT_CHARS_MAX = 8 * CARD_BYTES_MAX  # spaces and line breaks included
_HINT = "Ask for the card again, and copy the whole line that begins with dms3:."


@dataclass(frozen=True, slots=True)
class Card:
    """`root` says: I am called `name`, my node is `peer`, and it may be found at `addresses`.

    `addresses`: multiaddrs as text, without the peer id. `certificate`: encoded device certificate
    (crypto/certificate.py) of `peer`, or empty. Valid until `until_us` (wall clock, microseconds).
    """

    v: int
    root: bytes
    name: str
    peer: bytes
    addresses: tuple[str, ...]
    certificate: bytes
    since_us: int
    until_us: int
    signature: bytes

    def __post_init__(self) -> None:
        need(self.v == VERSION, f"card version {self.v} is not known: a newer dms3 is needed")
        need(len(self.root) == PUBLIC_BYTES, "a root has 32 bytes")
        need(is_name(self.name), f"a name is one line of 1 to {NAME_CHARS_MAX} characters")
        need(is_node_peer_id(self.peer), "the peer id is not one of an Ed25519 key")
        need(len(self.addresses) <= ADDRESSES_PER_PEER_MAX, "it has too many addresses")
        for address in self.addresses:
            fits = 0 < len(address) <= ADDRESS_CHARS_MAX and address.isprintable()
            need(fits, "an address is too long or not one line of text")
        need(len(self.certificate) <= CERTIFICATE_BYTES_MAX, "its certificate is too long")
        need(0 <= self.since_us < self.until_us <= INTEGER_MAX, "its dates are out of order")
        need(len(self.signature) in (0, SIGNATURE_BYTES), "a signature has 64 bytes")


def issue_card(
    key: SigningKey,
    *,
    name: str,
    peer: PeerId,
    addresses: Sequence[str],
    certificate: bytes,
    since_us: int,
    until_us: int,
) -> Card:
    """The card that root `key` signs; raises `argument_invalid` when a field breaks a bound."""
    try:
        bare = Card(
            VERSION, key.public, name, peer, tuple(addresses), certificate, since_us, until_us, b""
        )
    except ValueError as cause:
        raise Dms3Error("argument_invalid", f"No card can be made: {cause}.") from cause
    card = signed_by(key, DOMAIN, bare)
    size = len(encode(card))
    if size > CARD_BYTES_MAX:
        why = f"The card would have {size} bytes, {CARD_BYTES_MAX} is the limit."
        raise Dms3Error("argument_invalid", why, hint="Give fewer addresses.")
    return card


def encode_card(card: Card) -> bytes:
    """The binary form of a signed card."""
    return encode(card)


def decode_card(data: bytes) -> Card:
    """The card in `data`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(data, CARD_BYTES_MAX, "a contact card")
    card = decode(Card, data, strict=True)
    if not card.signature:
        raise DecodeError(0, "the card is not signed")
    return card


def card_text(card: Card) -> str:
    """The text form of a signed card: one line, `dms3:` and base32."""
    return PREFIX + encode_base32(encode_card(card))


def parse_card(text: str) -> Card:
    """The card written as `text`, not yet checked; raises DecodeError, and nothing else."""
    need_at_most(text, TEXT_CHARS_MAX, "a contact card")
    joined = "".join(text.split()).lower()
    if not joined.startswith(PREFIX):
        raise DecodeError(0, f"a contact card begins with {PREFIX}")
    return decode_card(decode_base32(joined[len(PREFIX) :]))


def check_card(card: Card, wall_us: int) -> None:
    """Return when the card is its root's own word and in date at `wall_us`.

    Raises `card_invalid` (altered), `card_expired`, or `not_yet_valid` (from the future).
    """
    if not is_signed_by(card.root, DOMAIN, card):
        raise Dms3Error("card_invalid", "The contact card was altered on its way.", hint=_HINT)
    if card.since_us > wall_us + CLOCK_AHEAD_US_MAX:
        why = "The contact card begins in the future."
        raise Dms3Error("not_yet_valid", why, hint="Compare the clocks of the two machines.")
    if card.until_us <= wall_us:
        why = f"The contact card of {card.name} has expired."
        raise Dms3Error("card_expired", why, hint="Ask for a fresh one: dms3 contact card.")


def read_card(text: str, wall_us: int) -> Card:
    """The checked card written as `text`; raises what `check_card` does, `card_invalid` too."""
    try:
        card = parse_card(text)
    except DecodeError as error:
        why = f"This is not a contact card: {error.reason}."
        raise Dms3Error("card_invalid", why, hint=_HINT) from error
    check_card(card, wall_us)
    return card


def is_name(name: str) -> bool:
    """Whether `name` can be a person's display name: one printable line, nothing at its ends."""
    return 0 < len(name) <= NAME_CHARS_MAX and name.isprintable() and name == name.strip()
