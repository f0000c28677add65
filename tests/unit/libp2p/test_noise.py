import json
from pathlib import Path

import pytest

from dms3.core import limits
from dms3.core.errors import DecodeError, Dms3Error
from dms3.libp2p.noise import Cipher, Frames, Handshake, Payload, Securing, Session
from dms3.libp2p.peer_id import PublicKey
from dms3.libp2p.protobuf import bytes_field, text_field
from unit.libp2p.wire_kit import SeededEntropy, key

VECTOR = json.loads((Path(__file__).parents[2] / "vectors" / "noise_xx.json").read_text())
MUXERS = ("/yamux/1.0.0",)


def _hex(name: str) -> bytes:
    return bytes.fromhex(VECTOR[name])


def _side(role: str) -> Handshake:
    return Handshake(
        initiator=role == "init",
        static=_hex(f"{role}_static"),
        ephemeral=_hex(f"{role}_ephemeral"),
        prologue=_hex(f"{role}_prologue"),
    )


def test_published_vector():
    sides = [_side("init"), _side("resp")]
    messages = [
        (bytes.fromhex(m["payload"]), bytes.fromhex(m["ciphertext"])) for m in VECTOR["messages"]
    ]
    for turn, (payload, expected) in enumerate(messages[:3]):
        writer, reader = sides[turn % 2], sides[1 - turn % 2]
        assert writer.write(payload) == expected
        assert reader.read(expected) == payload
    assert sides[0].hash == sides[1].hash == _hex("handshake_hash")
    (a_out, a_in), (b_out, b_in) = sides[0].split(), sides[1].split()
    directions = [(b_out, a_in), (a_out, b_in)]
    for turn, (payload, expected) in enumerate(messages[3:]):
        sending, receiving = directions[turn % 2]
        assert sending.seal(payload) == expected
        assert receiving.open(expected) == payload


def _secured(admit=lambda _peer: None) -> tuple[Securing, Securing]:
    def side(seed: int, dialer: bool) -> Securing:
        return Securing(
            dialer=dialer,
            key=key(seed),
            entropy=SeededEntropy(seed),
            muxers=MUXERS,
            admit=admit,
        )

    return side(1, True), side(2, False)


def _three(dialer: Securing, listener: Securing) -> tuple[bytes, bytes, bytes]:
    first = dialer.first()
    second = listener.receive(first[2:])
    third = dialer.receive(second[2:])
    return first, second, third


def test_both_sides_prove_who_they_are_and_name_their_muxers():
    dialer, listener = _secured()
    _, _, third = _three(dialer, listener)
    assert listener.receive(third[2:]) == b""
    assert dialer.peer == key(2).peer_id
    assert listener.peer == key(1).peer_id
    assert dialer.remote_muxers == listener.remote_muxers == MUXERS
    assert dialer.session is not None
    assert listener.session is not None
    sealed = b"".join(dialer.session.seal(b"hello"))
    assert listener.session.open(sealed[2:]) == b"hello"


def test_every_damaged_byte_of_every_message_is_noticed():
    _, second, third = _three(*_secured())
    for number, message in ((2, second), (3, third)):
        for index in range(2, len(message), 7):
            damaged = bytearray(message)
            damaged[index] ^= 1
            dialer, listener = _secured()
            _three(dialer, listener) if number == 3 else listener.receive(dialer.first()[2:])
            reader = listener if number == 3 else dialer
            with pytest.raises(DecodeError):
                reader.receive(bytes(damaged[2:]))
            assert reader.peer is None


@pytest.mark.parametrize("size", [0, 31])
def test_short_messages_are_refused(size):
    _, listener = _secured()
    with pytest.raises(DecodeError, match="cut off"):
        listener.receive(bytes(size))
    dialer, _ = _secured()
    dialer.first()
    with pytest.raises(DecodeError):
        dialer.receive(bytes(range(100))[:size])


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_points_of_small_order_are_refused(point):
    _, listener = _secured()
    with pytest.raises(DecodeError, match="small order"):
        listener.receive(point)


def test_a_refused_peer_learns_nothing_of_us():
    def refuse(_peer):
        raise Dms3Error("peer_unreachable", "another peer")

    dialer, listener = _secured(admit=refuse)
    second = listener.receive(dialer.first()[2:])
    with pytest.raises(Dms3Error, match="another peer"):
        dialer.receive(second[2:])
    assert dialer.peer is None
    assert dialer.session is None


class _Liar:
    """Signs with one key and shows another."""

    def __init__(self) -> None:
        self.public = key(9).public
        self.sign = key(2).sign


def test_a_stolen_identity_is_refused():
    dialer, _ = _secured()
    liar = Securing(
        dialer=False,
        key=_Liar(),
        entropy=SeededEntropy(2),
        muxers=(),
        admit=lambda _peer: None,
    )
    second = liar.receive(dialer.first()[2:])
    with pytest.raises(DecodeError, match="signature"):
        dialer.receive(second[2:])


def test_payload_round_trip_and_unknown_fields():
    payload = Payload(key(1).public, b"s" * 64, MUXERS)
    assert Payload.decode(payload.encode()) == payload
    more = payload.encode() + bytes_field(77, b"from a newer version")
    assert Payload.decode(more) == payload
    assert Payload.decode(Payload(key(1).public, b"s").encode()).muxers == ()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes_field(1, key(1).public_bytes),
        bytes_field(2, b"s"),
        bytes_field(1, b"no key") + bytes_field(2, b"s"),
        Payload(key(1).public, b"s", ("/m",) * (limits.NOISE_MUXERS_MAX + 1)).encode(),
        Payload(PublicKey(1, bytes(32)), b"s").encode()
        + bytes_field(4, bytes_field(2, b"\xff\xff")),
    ],
)
def test_payloads_that_prove_nothing_are_refused(data):
    with pytest.raises(DecodeError):
        Payload.decode(data)


def test_muxer_names_at_the_bound_are_read():
    names = b"".join(text_field(2, "/m") for _ in range(limits.NOISE_MUXERS_MAX))
    data = Payload(key(1).public, b"s").encode() + bytes_field(4, names)
    assert len(Payload.decode(data).muxers) == limits.NOISE_MUXERS_MAX


def test_replay_reorder_and_truncation_are_noticed():
    def session() -> tuple[Session, list[bytes]]:
        sealing = Session(Cipher(bytes(32)), Cipher(bytes(32)))
        return Session(Cipher(bytes(32)), Cipher(bytes(32))), [
            sealing.seal(text)[1] for text in (b"one", b"two")
        ]

    opening, (one, _) = session()
    assert opening.open(one) == b"one"
    with pytest.raises(DecodeError):
        opening.open(one)
    opening, (_, two) = session()
    with pytest.raises(DecodeError):
        opening.open(two)
    for damaged in (one[:-1], one + b"x", b"", bytes(15)):
        opening, _ = session()
        with pytest.raises(DecodeError):
            opening.open(damaged)


def test_the_counter_ends_before_it_repeats():
    cipher = Cipher(bytes(32))
    cipher.nonce = limits.NOISE_NONCE_MAX
    cipher.seal(b"last")
    with pytest.raises(Dms3Error, match="used up") as error:
        cipher.seal(b"one too many")
    assert error.value.code == "limit_reached"


@pytest.mark.parametrize("size", [0, 1, 65_518, 65_519, 65_520, 200_000])
@pytest.mark.parametrize("piece", [1_000, 65_537, 1 << 20])
def test_long_data_is_cut_into_messages_and_back(size, piece):
    plain = bytes(range(256)) * (size // 256 + 1)
    plain = plain[:size]
    sealing, opening = Session(Cipher(b"k" * 32), Cipher(b"k" * 32)), Cipher(b"k" * 32)
    wire = b"".join(sealing.seal(plain))
    out: list[bytes] = []
    frames = Frames()
    for start in range(0, len(wire), piece):
        frames.receive(wire[start : start + piece], lambda view: out.append(opening.open(view)))
    assert b"".join(out) == plain
    assert len(out) == max(1, -(-size // 65_519))


def test_bytes_one_by_one():
    frames, out = Frames(), []
    for byte in b"\x00\x03abc\x00\x00\x00\x01d\x00":
        frames.receive(bytes([byte]), lambda view: out.append(bytes(view)))
    assert out == [b"abc", b"", b"d"]
