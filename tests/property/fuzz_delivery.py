"""What strangers give a delivery service, for the fuzz test: rules, envelopes, names, addresses."""

import json
import random

from starlette.datastructures import Headers

from dms3.api.public import remote_host
from dms3.core.errors import DecodeError, Dms3Error
from dms3.delivery.admission import named, read_envelope, read_information
from dms3.delivery.rules import SpamRules, decode_rules
from dms3.dm3.canonical import parse
from dms3.dm3.envelope import enclose
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.message import MessageType, compose
from dms3.dm3.postmark import stamped
from dms3.dm3.profile import ServiceProfile, UserProfile

MOST = 1 << 16
KEYS = ProfileKeys.of_seed(bytes(range(32)))
SERVICE = ProfileKeys.of_seed(bytes(range(1, 33)))
TOKEN = "0x" + "ab" * 20


class _Entropy:
    def __init__(self) -> None:
        self._random = random.Random(5)

    def draw(self, count: int) -> bytes:
        return self._random.randbytes(count)


def _envelope(*, legacy: bool) -> bytes:
    message = compose(
        KEYS,
        sender="alice.eth",
        receiver="bob.eth",
        sent_ms=1_700_000_000_000,
        type=MessageType.NEW,
        text="hello",
        attachments=(),
        reference=None,
    )
    to = UserProfile(("ds.eth",), KEYS.encryption_public, KEYS.signing_public)
    place = ServiceProfile(SERVICE.encryption_public, SERVICE.signing_public, "https://ds.example")
    return enclose(message, KEYS, to, place, _Entropy(), legacy=legacy).text().encode()


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as cause:
        raise DecodeError(0, "not text") from cause


def _rules(data: bytes) -> SpamRules:
    rules = decode_rules(parse(data, MOST))
    assert decode_rules(rules.value()) == rules
    return rules


def _submission(data: bytes) -> object:
    """An envelope is refused with an error for its sender, or can be kept."""
    try:
        envelope, text = read_envelope(_text(data), MOST)
        information = read_information(SERVICE, envelope)
    except DecodeError:
        raise
    except Dms3Error as error:
        raise DecodeError(0, error.message) from error
    kept = json.loads(stamped(text, envelope, "a postmark"))
    assert kept["postmark"] == "a postmark"
    assert kept["message"] == envelope.message
    assert "deliveryInformation" not in kept["metadata"]
    return information


def _name(data: bytes) -> str:
    try:
        name = named(_text(data))
    except DecodeError:
        raise
    except Dms3Error as error:
        raise DecodeError(0, error.message) from error
    assert named(name) == name
    return name


def _host(data: bytes) -> str:
    headers = Headers(raw=[(b"x-forwarded-for", data)])
    return remote_host({"client": ("127.0.0.1", 1)}, headers)


FUZZ = {"rules": _rules, "submission": _submission, "name": _name, "host": _host}
SEEDS = {
    "rules": [
        json.dumps(SpamRules(1, 10**20, TOKEN, 5).value()).encode(),
        b"{}",
        b'{"minNonce":null}',
    ],
    "submission": [_envelope(legacy=False), _envelope(legacy=True)],
    "name": [b"alice.eth", "straße.eth".encode(), b"_a.eth", TOKEN.encode()],
    "host": [b"192.0.2.1", b"198.51.100.1, 2001:db8::1", b"::ffff:192.0.2.7", b"unknown"],
}
COUNTS = {
    "submission": (4_000, "each is parsed, hashed and opened: half a millisecond"),
    "name": (5_000, "a name that is not plain is normalised with the tables of ENSIP-15"),
}

SLOW = {"host"}
