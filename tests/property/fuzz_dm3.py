"""Decoders of the dm3 formats for the fuzz test."""

import random
from dataclasses import replace
from typing import Any

from dms3.core.errors import DecodeError
from dms3.dm3.acknowledgement import (
    Acknowledgement,
    acknowledgements_value,
    decode_acknowledgements,
)
from dms3.dm3.canonical import canonical, decode_base64, encode_base64, parse
from dms3.dm3.cloud import open_container, open_name, seal_container, seal_name
from dms3.dm3.envelope import (
    decode_delivered,
    decode_envelope,
    enclose,
    open_delivery,
    open_envelope,
    with_postmark,
)
from dms3.dm3.extension import ProfileExtension, decode_extension
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.link import ProfileLink, SignedLink, decode_signed_link
from dms3.dm3.message import Attachment, MessageType, compose, decode_message
from dms3.dm3.naming import normalise, reference_form, same_name
from dms3.dm3.postmark import open_postmark, stamp
from dms3.dm3.profile import (
    ServiceProfile,
    UserProfile,
    decode_service_profile,
    decode_signed_profile,
    decode_user_profile,
    sign_profile,
)
from dms3.dm3.records import Linked, check_linked, data_uri, data_uri_base64, link_uri, read_record
from dms3.dm3.sealing import open_symmetric, open_text, seal_symmetric, seal_text
from dms3.dm3.token import (
    issue_challenge,
    issue_session,
    read_challenge,
    read_session,
    token_secret,
)
from dms3.dm3.wallet import personal_sign, personal_signer

MOST = 1 << 16
NOW_S = 1_700_000_000
KEYS = ProfileKeys.of_seed(bytes(range(32)))
SERVICE = ProfileKeys.of_seed(bytes(range(1, 33)))
SECRET = token_secret(SERVICE)
WALLET = bytes([7]) * 32
USER = UserProfile(("ds.eth", "other.eth"), KEYS.encryption_public, KEYS.signing_public)
SIGNED = sign_profile(WALLET, USER)
PLACE = ServiceProfile(SERVICE.encryption_public, SERVICE.signing_public, "https://ds.example")


class _Entropy:
    def __init__(self) -> None:
        self._random = random.Random(1)

    def draw(self, count: int) -> bytes:
        return self._random.randbytes(count)


MESSAGE = compose(
    KEYS,
    sender="alice.eth",
    receiver="bob.eth",
    sent_ms=NOW_S * 1_000,
    type=MessageType.REPLY,
    text="Grüße 🎉",
    attachments=(Attachment("a", "data:,x"), Attachment(None, "data:,", bare=True)),
    reference="0x" + "e" * 64,
)
ENVELOPE = enclose(MESSAGE, KEYS, USER, PLACE, _Entropy())
LEGACY = enclose(MESSAGE, KEYS, USER, PLACE, _Entropy(), legacy=True)
INFORMATION = open_delivery(SERVICE.encryption_secret, ENVELOPE)
SEALED_MARK = stamp(SERVICE, ENVELOPE, KEYS.encryption_public, NOW_S * 1_000, _Entropy())
STAMPED = with_postmark(ENVELOPE, SEALED_MARK, INFORMATION)
KEPT = replace(STAMPED, sealed=ENVELOPE.delivery)
LINK = ProfileLink("EthAddressLink", "0x" + "1" * 40, "a.eth", "https://app", NOW_S, NOW_S + 1)


def _json(data: bytes) -> Any:
    value = parse(data, MOST)
    assert canonical(parse(canonical(value), 8 * MOST)) == canonical(value)
    return value


def _read(decode: Any) -> Any:
    """A decoder of JSON values, fed with JSON text; what it reads it can write again."""

    def target(data: bytes) -> object:
        value = parse(data, MOST)
        found = decode(value)
        assert canonical(found.value()) == canonical(value)
        return found

    return target


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise DecodeError(0, "not Unicode") from None


def _envelope(data: bytes) -> object:
    envelope = decode_delivered(_text(data))
    assert decode_delivered(envelope.text()) == envelope
    if envelope.sealed is None:
        assert decode_envelope(_text(data)) == envelope
    for opened in (open_envelope, open_postmark, open_delivery):
        try:
            _open(opened, envelope)
        except DecodeError:
            continue
    return envelope


def _open(opened: Any, envelope: Any) -> None:
    if opened is open_delivery:
        opened(SERVICE.encryption_secret, envelope)
    else:
        opened(KEYS.encryption_secret, envelope)


def _record(data: bytes) -> object:
    record = read_record(_text(data))
    if isinstance(record, Linked):
        check_linked(record, SIGNED.text())
    return record


def _postmark(data: bytes) -> object:
    """What a service sealed to us: any text at all."""
    sealed = seal_text(KEYS.encryption_public, data.decode(errors="replace"), _Entropy())
    return open_postmark(KEYS.encryption_secret, with_postmark(ENVELOPE, sealed, None))


def _delivery(data: bytes) -> object:
    """What a sender sealed to our service: any text at all."""
    sealed = seal_text(SERVICE.encryption_public, data.decode(errors="replace"), _Entropy())
    return open_delivery(SERVICE.encryption_secret, replace(ENVELOPE, delivery=sealed))


def _names(data: bytes) -> object:
    name = _text(data)
    assert same_name(name, "alice.eth") in (True, False)
    try:
        prepared = reference_form(name)
        assert reference_form(prepared) == prepared or not prepared.isascii()
    except DecodeError:
        pass
    normal = normalise(name)
    assert normalise(normal) == normal
    return normal


def _signer(data: bytes) -> object:
    return personal_signer("text", _text(data))


def _bytes64(data: bytes) -> object:
    found = decode_base64(_text(data))
    assert encode_base64(found) == _text(data)
    return found


def _of(value: Any) -> bytes:
    return canonical(value).encode()


SEALED = seal_text(KEYS.encryption_public, "text", _Entropy()).encode()
SYMMETRIC = seal_symmetric(bytes(32), bytes(12), "text").encode()
FUZZ = {
    "json": _json,
    "base64": _bytes64,
    "user_profile": _read(decode_user_profile),
    "signed_profile": _read(decode_signed_profile),
    "service_profile": _read(decode_service_profile),
    "message": _read(decode_message),
    "envelope": _envelope,
    "postmark": _postmark,
    "delivery": _delivery,
    "payload": lambda data: open_text(KEYS.encryption_secret, _text(data)),
    "symmetric": lambda data: open_symmetric(bytes(32), _text(data)),
    "cloud_name": lambda data: open_name(KEYS, _text(data)),
    "cloud_container": lambda data: open_container(KEYS, _text(data)),
    "record": _record,
    "extension": lambda data: decode_extension(parse(data, MOST)),
    "acknowledgements": lambda data: decode_acknowledgements(parse(data, MOST)),
    "link": _read(decode_signed_link),
    "session": lambda data: read_session(SECRET, _text(data), NOW_S),
    "challenge": lambda data: read_challenge(SECRET, _text(data), NOW_S),
    "names": _names,
    "wallet_signature": _signer,
}
SEEDS = {
    "json": [_of({"a": [1, None, 1.5, "😀"]}), b'{"b":1e21,"\\ud83d\\ude00":[[]]}'],
    "base64": [encode_base64(bytes(n)).encode() for n in (0, 1, 2, 3)],
    "user_profile": [USER.text().encode()],
    "signed_profile": [SIGNED.text().encode()],
    "service_profile": [PLACE.text().encode()],
    "message": [_of(MESSAGE.value())],
    "envelope": [item.text().encode() for item in (ENVELOPE, LEGACY, STAMPED, KEPT)],
    "postmark": [_of(open_postmark(KEYS.encryption_secret, STAMPED).value())],
    "delivery": [_of(INFORMATION.value()), _of({**INFORMATION.value(), "deliveryInstruction": ""})],
    "payload": [SEALED],
    "symmetric": [SYMMETRIC],
    "cloud_name": [seal_name(KEYS, "alice.eth", "bob.eth").encode()],
    "cloud_container": [seal_container(KEYS, "text", _Entropy()).encode()],
    "record": [
        data_uri(SIGNED.text()).encode(),
        data_uri_base64(SIGNED.text()).encode(),
        b"data:application/json,%7B%22a%22:1%7D",
        link_uri("https://ds.example/p?a=b", SIGNED.text()).encode(),
        b"ipfs://bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy",
    ],
    "extension": [
        _of(ProfileExtension().value()),
        _of({"notSupportedMessageTypes": ["EDIT"]}),
        _of({"encryptionScheme": ["x"], "supportedMessageTypes": ["NEW"]}),
    ],
    "acknowledgements": [_of(acknowledgements_value([Acknowledgement("a.eth", "0x" + "e" * 64)]))],
    "link": [_of(SignedLink(LINK, personal_sign(WALLET, LINK.text())).value())],
    "session": [issue_session(SECRET, "alice.eth", NOW_S).encode()],
    "challenge": [issue_challenge(SECRET, "alice.eth", NOW_S, _Entropy()).encode()],
    "names": [b"alice.eth", "Straße.eth".encode(), "😀.eth".encode(), b"_a.b-c.eth"],
    "wallet_signature": [personal_sign(WALLET, "text").encode()],
}
_SEALS = "each input is sealed before it is opened: 0.5 ms"
_SAME = "its decoder is that of the target beside it"
COUNTS: dict[str, tuple[int, str]] = {
    "postmark": (5_000, _SEALS),
    "delivery": (5_000, _SEALS),
    "names": (5_000, "ENSIP-15 in Python takes 0.4 ms"),
    "envelope": (30_000, "each accepted one is opened in three ways"),
    "challenge": (20_000, _SAME),
    "cloud_container": (20_000, _SAME),
    "symmetric": (20_000, _SAME),
}

SLOW = {"link", "message", "payload", "session"}
