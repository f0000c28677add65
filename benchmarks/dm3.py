"""Sealing and opening of dm3 beside the sum of their cryptographic primitives, in one thread.

What is counted as a primitive: key exchanges, BLAKE2b, ChaCha20-Poly1305, Ed25519, SHA-256, keccak,
and base64, called with bytes that are there. Ours adds JSON, padding and every check.
"""

from __future__ import annotations

import base64
import hashlib
import random
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from measure import Row
from nacl import bindings

from dms3.crypto.keys import keccak256
from dms3.dm3.canonical import canonical
from dms3.dm3.envelope import decode_envelope, enclose, is_envelope_by, open_delivery, open_envelope
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.message import compose, is_message_by
from dms3.dm3.postmark import stamp
from dms3.dm3.profile import ServiceProfile, UserProfile
from dms3.dm3.sealing import open_text, seal_text

ROUNDS = 15
TIMES = 100
GOAL = 1.5
ALICE, BOB, SERVICE = (ProfileKeys.of_seed(bytes([n]) * 32) for n in (1, 2, 3))
TO = UserProfile(("ds.eth",), BOB.encryption_public, BOB.signing_public)
PLACE = ServiceProfile(SERVICE.encryption_public, SERVICE.signing_public, "https://ds.example")
BLOCK = bytes(2_048)
NONCE, KEY = bytes(12), bytes(range(32))
FLOOR = "primitives"
WHY = "PyNaCl; one text of a padding block"


class Entropy:
    """Random bytes, the same in every run."""

    def __init__(self) -> None:
        self._random = random.Random(1)

    def draw(self, count: int) -> bytes:
        return self._random.randbytes(count)


ENTROPY = Entropy()
MESSAGE = compose(
    ALICE, sender="alice.eth", receiver="bob.eth", sent_ms=1_700_000_000_000, text="x" * 200
)
ENVELOPE = enclose(MESSAGE, ALICE, TO, PLACE, ENTROPY)
TEXT = ENVELOPE.text()
METADATA = ENVELOPE.signed_text().encode()
SIGNED = MESSAGE.signed_text().encode()
WHOLE = canonical(MESSAGE.value()).encode()
SEALED = base64.b64encode(
    bindings.crypto_aead_chacha20poly1305_ietf_encrypt(BLOCK, None, NONCE, KEY)
)
SIGNED_METADATA = bindings.crypto_sign(METADATA, ALICE.signing_secret)
SIGNED_MESSAGE = bindings.crypto_sign(SIGNED, ALICE.signing_secret)
PAYLOAD = seal_text(BOB.encryption_public, "x" * 200, ENTROPY)


def seal_floor() -> None:
    secret = ENTROPY.draw(32)
    public = bindings.crypto_scalarmult_base(secret)
    shared = bindings.crypto_scalarmult(secret, BOB.encryption_public)
    key = hashlib.blake2b(shared + public + BOB.encryption_public).digest()[32:]
    nonce = ENTROPY.draw(12)
    base64.b64encode(bindings.crypto_aead_chacha20poly1305_ietf_encrypt(BLOCK, None, nonce, key))


def open_floor() -> None:
    """Whoever opens has the public key beside the secret one: it is not made again."""
    shared = bindings.crypto_scalarmult(BOB.encryption_secret, ALICE.encryption_public)
    hashlib.blake2b(shared + ALICE.encryption_public + BOB.encryption_public).digest()
    sealed = base64.b64decode(SEALED)
    bindings.crypto_aead_chacha20poly1305_ietf_decrypt(sealed, None, NONCE, KEY)


def send() -> None:
    message = compose(
        ALICE, sender="alice.eth", receiver="bob.eth", sent_ms=1_700_000_000_000, text="x" * 200
    )
    enclose(message, ALICE, TO, PLACE, ENTROPY).text()


def send_floor() -> None:
    bindings.crypto_sign(SIGNED, ALICE.signing_secret)
    hashlib.sha256(WHOLE).digest()
    seal_floor()
    seal_floor()
    bindings.crypto_sign(METADATA, ALICE.signing_secret)


def receive() -> None:
    message = open_envelope(BOB.encryption_secret, decode_envelope(TEXT), BOB.encryption_public)
    assert is_message_by(message, ALICE.signing_public, "alice.eth")


def receive_floor() -> None:
    open_floor()
    hashlib.sha256(WHOLE).digest()
    bindings.crypto_sign_open(SIGNED_MESSAGE, ALICE.signing_public)


def carry() -> None:
    """What a delivery service does with an envelope."""
    envelope = decode_envelope(TEXT)
    open_delivery(SERVICE.encryption_secret, envelope, SERVICE.encryption_public)
    assert is_envelope_by(envelope, ALICE.signing_public)
    stamp(SERVICE, envelope, BOB.encryption_public, 1_700_000_000_000, ENTROPY)


def carry_floor() -> None:
    open_floor()
    bindings.crypto_sign_open(SIGNED_METADATA, ALICE.signing_public)
    keccak256(TEXT[:3_000].encode())
    bindings.crypto_sign(bytes(66), SERVICE.signing_secret)
    seal_floor()


def beside(ours: Callable[[], object], floor: Callable[[], object]) -> tuple[float, float]:
    """Microseconds of the processor for one call of each, medians of rounds taken in turn."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for times, work in zip(found, (ours, floor), strict=True):
            started = time.thread_time()
            for _ in range(TIMES):
                work()
            times.append((time.thread_time() - started) / TIMES * 1e6)
    return statistics.median(found[0]), statistics.median(found[1])


def rows() -> list[Row]:
    works: list[tuple[str, Callable[[], object], Callable[[], object], float | None]] = [
        (
            "dm3: seal a text",
            lambda: seal_text(TO.encryption, "x" * 200, ENTROPY),
            seal_floor,
            GOAL,
        ),
        (
            "dm3: open a text",
            lambda: open_text(BOB.encryption_secret, PAYLOAD, BOB.encryption_public),
            open_floor,
            GOAL,
        ),
        ("dm3: sign and seal a message", send, send_floor, GOAL),
        ("dm3: open and verify a message", receive, receive_floor, GOAL),
        ("dm3: open, verify and stamp at a service", carry, carry_floor, None),
    ]
    return [
        Row(name, *beside(ours, floor), FLOOR, "us", goal, WHY) for name, ours, floor, goal in works
    ]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    for row in rows():
        print(f"{row.name}: {row.ours:.0f} us, primitives {row.peer:.0f} us, ratio {row.ratio:.2f}")
