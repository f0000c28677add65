"""A hostile peer against a real node, on the wire: bounded, named, scored, nobody disturbed."""

import asyncio
import contextlib
import random
import struct
from collections.abc import Iterator

import pytest

from dms3.core.codec import encode_plain
from dms3.core.errors import Dms3Error
from dms3.core.limits import (
    FRAME_BODY_BYTES_MAX,
    HANDSHAKE_US_MAX,
    HANDSHAKES_MAX,
    KIB,
    SECOND_US,
    YAMUX_INBOUND_STREAMS_MAX,
)
from dms3.p2p.frames import ANSWER, CANCEL, REQUEST, encode_frame
from dms3.search.messages import (
    BLOCK_PROTOCOL,
    SEARCH_PROTOCOL,
)
from network.attacked import (
    NONCE,
    PEER_PROTOCOL,
    World,
    attacked,
    during,
    failed_handshakes,
    refusal,
    scored,
)
from network.foe import HELLO, Foe, HalfWay, refused
from network.running import seconds


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with attacked(tmp_path_factory.mktemp("hostile")) as world:
        yield world


# handshakes


@pytest.mark.parametrize(
    ("flights", "more"),
    [(0, 0), (0, 1), (0, 20), (0, 27), (0, 30), (0, 50), (1, 0), (1, 2), (1, 80), (2, 0), (3, 0)],
)
def test_random_bytes_at_each_step_of_the_handshake(world: World, flights: int, more: int) -> None:
    async def attack() -> None:
        before = failed_handshakes(world.alice).get("peer_misbehaved", 0)
        blamed = 0
        for seed in range(5):
            noise = random.Random(seed * 10 + flights).randbytes(70 * KIB)
            halfway = await HalfWay.dial(world.alice)
            await halfway.go(flights, more)
            halfway.writer.write(noise)
            await halfway.until_cut()
            blamed += await scored(world, halfway, 45 if flights > 1 else 0) >= 45
        named = failed_handshakes(world.alice)["peer_misbehaved"] - before
        print(f"after {flights} flights and {more} bytes: {named} named, {blamed} scored")
        assert named + blamed == 5

    during(world, attack)


def test_plaintext_is_never_agreed(world: World) -> None:
    async def attack() -> None:
        halfway = await HalfWay.dial(world.alice)
        lines = [b"/multistream/1.0.0\n", b"/plaintext/2.0.0\n", b"/tls/1.0.0\n", b"/secio/1.0.0\n"]
        halfway.writer.write(b"".join(bytes([len(line)]) + line for line in lines))
        answer = b""
        while answer.count(b"na\n") < 3:
            answer += await halfway.reader.readuntil(b"\n")
        assert b"plaintext" not in answer
        halfway.writer.close()

    during(world, attack)


def test_a_crowd_of_silent_handshakes_keeps_nobody_out(world: World) -> None:
    async def attack() -> None:
        before = failed_handshakes(world.alice)
        crowd = [await HalfWay.dial(world.alice) for _ in range(HANDSHAKES_MAX * 2)]
        async with Foe().connected(world.alice) as foe:
            assert await foe.ask(PEER_PROTOCOL, NONCE) == NONCE
        for halfway in crowd:
            halfway.writer.close()
        after = failed_handshakes(world.alice)
        assert after["limit_reached"] - before.get("limit_reached", 0) >= HANDSHAKES_MAX

    during(world, attack)


def test_a_handshake_of_a_byte_now_and_then_ends_in_time(world: World) -> None:
    async def attack() -> None:
        before = failed_handshakes(world.alice).get("timed_out", 0)
        slow = await HalfWay.dial(world.alice)
        begun = seconds()
        async with asyncio.TaskGroup() as group:
            cut = group.create_task(slow.until_cut(1.5 * HANDSHAKE_US_MAX / SECOND_US))
            for byte in slow.connection.data_to_send():
                slow.writer.write(bytes([byte]))
                if (await asyncio.wait([cut], timeout=0.5))[0]:
                    break
        assert 0.8 < (seconds() - begun) * SECOND_US / HANDSHAKE_US_MAX < 1.3
        assert failed_handshakes(world.alice)["timed_out"] - before == 1

    during(world, attack)


# the multiplexer


def yamux(kind: int, flags: int, stream: int, length: int) -> bytes:
    return struct.pack(">BBHII", 0, kind, flags, stream, length)


BREACHES = {
    "version": b"\x07" + bytes(11),
    "kind": yamux(9, 0, 1, 0),
    "even stream id": yamux(0, 1, 2, 0),
    "window overrun": yamux(0, 1, 1001, 300 * KIB) + bytes(300 * KIB),
    "largest frame": yamux(0, 1, 1001, 2**32 - 1),
    "window overflow": yamux(1, 1, 1001, 2**32 - 1) + yamux(1, 0, 1001, 2**32 - 1),
    "stream opened twice": yamux(1, 1, 1001, 0) * 2,
}


def test_breaches_of_the_multiplexer_end_the_connection_and_are_scored(world: World) -> None:
    async def attack() -> None:
        for name, data in sorted(BREACHES.items()):
            foe = Foe()
            async with foe.connected(world.alice):
                foe.be_deaf()
                write_below(foe, data)
                await foe.dropped(5)
            assert await scored(world, foe, 45) >= 45, name
            async with foe.connected(world.alice):
                foe.be_deaf()
                write_below(foe, data)
                await foe.dropped(5)
            assert await refusal(world, foe) == "connection_broken", name
            assert await refused(foe, world.alice)

    during(world, attack)


def write_below(foe: Foe, data: bytes) -> None:
    """Send `data` to the other side's multiplexer, past our own."""
    wire = foe._link._wire
    if wire._socket is None:
        raise ConnectionResetError
    for start in range(0, len(data), 60 * KIB):
        sealed = wire.connection._channel.seal(data[start : start + 60 * KIB])
        wire._socket.write(b"".join(sealed) if isinstance(sealed, list) else sealed)


def test_streams_without_end_are_refused(world: World) -> None:
    async def attack() -> None:
        foe = Foe()
        async with foe.connected(world.alice):
            foe.be_deaf()
            opened = 0
            with contextlib.suppress(ConnectionResetError):
                for _ in range(20 * YAMUX_INBOUND_STREAMS_MAX):
                    write_below(foe, yamux(1, 1, 10_001 + 2 * opened, 0))
                    opened += 1
                    if opened % 50 == 0:
                        await asyncio.sleep(0)
            await foe.dropped(10)
        print(f"{opened} streams, then: {foe.reason}")
        assert YAMUX_INBOUND_STREAMS_MAX < opened < 20 * YAMUX_INBOUND_STREAMS_MAX
        assert await scored(world, foe, 45) >= 45

    during(world, attack)


def test_streams_of_one_protocol_again_and_again_end_refused(world: World) -> None:
    async def attack() -> None:
        foe = Foe()
        async with foe.connected(world.alice):
            with contextlib.suppress(Dms3Error):
                while not foe.closed.is_set():
                    await foe.ended(foe.open(PEER_PROTOCOL, HELLO)) if foe._streams else foe.open(
                        PEER_PROTOCOL
                    )
            await foe.dropped()
        assert await refusal(world, foe) == "stream_repeated"

    during(world, attack)


# frames


FRAMES = {
    "frame_too_large": b"\xff\xff\xff\x7f",
    "frame_malformed": b"\x80\x00",
    "frame_kind_unknown": encode_frame(9, 1, b""),
    "frame_kind_misplaced": encode_frame(ANSWER, 1, b""),
    "version_repeated": HELLO,
    "request_id_reused": encode_frame(REQUEST, 5, NONCE) * 2,
    "cancel_unasked": encode_frame(CANCEL, 9, b""),
}


@pytest.mark.parametrize("code", sorted(FRAMES))
def test_bad_frames_reset_their_stream_and_end_in_refusal(world: World, code: str) -> None:
    async def attack() -> None:
        foe = Foe()
        async with foe.connected(world.alice):
            while not foe.closed.is_set():
                try:
                    stream = foe.open(PEER_PROTOCOL, HELLO + FRAMES[code])
                except Dms3Error:
                    break
                await foe.ended(stream)
            await foe.dropped()
        assert await refusal(world, foe) == code
        assert await refused(foe, world.alice)

    during(world, attack)


def test_a_stream_that_begins_with_something_else(world: World) -> None:
    async def attack() -> None:
        foe = Foe()
        async with foe.connected(world.alice):
            for first in (encode_frame(REQUEST, 1, b"x"), encode_frame(0, 0, b"\xff" * 40)):
                await foe.ended(foe.open(SEARCH_PROTOCOL, first))
            other = encode_frame(0, 0, encode_plain({"network": bytes(33), "minors": [0]}))
            stream = foe.open(BLOCK_PROTOCOL, other)
            await foe.ended(stream)
            earned = await scored(world, foe, 45)
        assert earned <= 50, "another network is nobody's fault"

    during(world, attack)


def test_the_largest_frames_are_taken_one_at_a_time(world: World) -> None:
    async def attack() -> None:
        foe = Foe()
        async with foe.connected(world.alice):
            stream = foe.open(SEARCH_PROTOCOL)
            frame = encode_frame(REQUEST, 1, bytes(FRAME_BODY_BYTES_MAX))
            with contextlib.suppress(Dms3Error):
                foe.write(stream, frame)
            await foe.frame(stream)
            kind, _, body = await foe.frame(stream)
            assert kind == 3
            assert b"decode_failed" in body

    during(world, attack)
