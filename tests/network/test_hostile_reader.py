"""Hostile questions to a real node: floods, garbage, grants that do not hold, blocks not shared."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dms3.core.cid import RAW, Cid
from dms3.core.codec import encode, encode_plain
from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import (
    KIB,
    MIB,
    SECOND_US,
)
from dms3.crypto.grant import Proof, decode_grant
from dms3.crypto.signing import SigningKey
from dms3.libp2p.peer_id import peer_id_text
from dms3.p2p.frames import MESSAGE, REQUEST, encode_frame
from dms3.sdk import Client
from dms3.search.messages import (
    BLOCK_PROTOCOL,
    GRANT_PROTOCOL,
    SEARCH_PROTOCOL,
    BlockQuestion,
    GrantMessage,
    SearchQuestion,
)
from network.attacked import (
    BIG,
    MEMORY_MARGIN,
    NONCE,
    PEER_PROTOCOL,
    PROTOCOLS,
    World,
    attacked,
    during,
    points,
    reader,
    refusal,
    scored,
)
from network.foe import DAY_US, Foe


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with attacked(tmp_path_factory.mktemp("hostile")) as world:
        yield world


# questions


GARBAGE = [
    b"",
    b"\0",
    b"\xff" * 100,
    b"\xa0",
    b"\x81" * 5_000,
    b"\xbf\xff",
    b"\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    encode_plain({"space": bytes(33)}),
    encode_plain({"nonce": b"\0" + b"x" * 70_000}),
    b"\xa1\x61a\xf9\x7e\x00",
    bytes(100 * KIB),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_malformed_bodies_are_named_at_every_protocol(world: World, protocol: str) -> None:
    async def attack() -> None:
        for index, body in enumerate(GARBAGE):
            foe = Foe()
            async with foe.connected(world.alice):
                answer = await foe.ask(protocol, body)
                assert isinstance(answer, Failure), (index, answer)
                assert answer.code in ("decode_failed", "body_malformed", "reset"), answer
                if index == 2:
                    while not foe.closed.is_set():
                        with contextlib.suppress(Dms3Error):
                            await foe.ask(protocol, body)
                    assert await refusal(world, foe) == "body_malformed"

    during(world, attack)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_floods_of_questions_are_bounded_and_scored(world: World, protocol: str) -> None:
    async def attack() -> None:
        async with reader(world) as (foe, grant):
            body = question(world, protocol, foe, grant)
            stream = foe.open(protocol)
            number = 0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(10):
                    while not foe.closed.is_set():
                        with contextlib.suppress(Dms3Error):  # it takes no more just now
                            for _ in range(200):
                                foe.write(stream, encode_frame(REQUEST, number + 1, body))
                                number += 1
                        await asyncio.sleep(0)
            seen = foe._streams[stream].frames.qsize()
            print(f"{protocol}: {number} questions, {seen} answers")
            assert foe.closed.is_set()
            assert await refusal(world, foe) == "requests_excess"

    during(world, attack)


def question(world: World, protocol: str, foe: Foe, grant: bytes) -> bytes:
    """A right question for `protocol`."""
    proof = Proof(grant, foe.certificate())
    space = decode_grant(grant).space
    return {
        PEER_PROTOCOL: NONCE,
        GRANT_PROTOCOL: encode(GrantMessage(foe.certificate(), serial=bytes(16))),
        SEARCH_PROTOCOL: encode(SearchQuestion(space, "heron", 10, proof)),
        BLOCK_PROTOCOL: encode(BlockQuestion(space, world.shared, proof)),
    }[protocol]


def test_messages_that_nobody_takes_are_bounded(world: World) -> None:
    async def attack() -> None:
        foe = Foe()
        async with foe.connected(world.alice):
            stream = foe.open(PEER_PROTOCOL)
            sent = 0
            with contextlib.suppress(Dms3Error):
                while sent < 64 * MIB and not foe.closed.is_set():
                    foe.write(stream, encode_frame(MESSAGE, 0, bytes(64 * KIB)))
                    sent += 64 * KIB
                    await asyncio.sleep(0)
        print(f"{sent / MIB:.0f} MiB offered, {foe.reason}")

    during(world, attack)


def test_a_peer_that_never_reads_keeps_little_of_memory(world: World) -> None:
    async def attack() -> None:
        async with reader(world, reads=False) as (foe, grant):
            proof, space = Proof(grant, foe.certificate()), decode_grant(grant).space
            leaf = Cid.of(RAW, BIG[: 256 * KIB])
            body = encode(BlockQuestion(space, leaf, proof))
            stream = foe.open(BLOCK_PROTOCOL)
            for number in range(1, 1_000):
                foe.write(stream, encode_frame(REQUEST, number, body))
            held = world.alice.memory()
            async with asyncio.timeout(10):
                while foe.received < 256 * KIB:  # noqa: ASYNC110  # a figure, no event
                    await asyncio.sleep(0.01)
            await asyncio.sleep(1)  # it would go on if it were not held
            assert foe.received <= 300 * KIB, "more than its window came"
            assert world.alice.memory() - held < MEMORY_MARGIN

    during(world, attack)


# grants


def test_an_honest_reader_of_our_own_pieces_is_served(world: World) -> None:
    async def attack() -> None:
        async with reader(world) as (foe, grant):
            proof, space = Proof(grant, foe.certificate()), decode_grant(grant).space
            block = await foe.ask(BLOCK_PROTOCOL, encode(BlockQuestion(space, world.shared, proof)))
            assert block == b"The heron waits beside the lock."
            found = await foe.ask(SEARCH_PROTOCOL, encode(SearchQuestion(space, "heron", 5, proof)))
            assert isinstance(found, bytes)
            assert b"heron" in found
            assert await points(world, foe) == 0

    during(world, attack)


def test_grants_that_do_not_hold_are_refused_by_name(world: World) -> None:
    async def attack() -> None:
        async with reader(world) as (foe, grant):
            real = decode_grant(grant)
            space, good = real.space, foe.certificate()
            own = SigningKey.of_seed(bytes(32))
            other = Foe()
            wrong = {
                "altered end": (
                    Proof(changed(grant, until_us=real.until_us + 1), good),
                    "grant_invalid",
                ),
                "altered space": (Proof(changed(grant, space=bytes(32)), good), "grant_invalid"),
                "own issuer": (Proof(changed(grant, issuer=own.public), good), "grant_invalid"),
                "another reader": (
                    Proof(changed(grant, reader=other.root.public), other.certificate()),
                    "grant_invalid",
                ),
                "another root's": (Proof(grant, other.certificate()), "certificate_invalid"),
                "expired device": (
                    Proof(grant, foe.certificate(until_us=-1 * SECOND_US)),
                    "certificate_expired",
                ),
                "device of tomorrow": (
                    Proof(grant, foe.certificate(since_us=DAY_US // 2)),
                    "not_yet_valid",
                ),
                "nothing": (Proof(b"", b""), "grant_invalid"),
                "swapped": (Proof(good, grant), "grant_invalid"),
            }
            for name, (proof, code) in wrong.items():
                for protocol, body in questions(space, world.shared, proof).items():
                    answer = await foe.ask(protocol, body)
                    assert isinstance(answer, Failure), name
                    assert answer.code == code, (name, answer)
                if await points(world, foe) > 60:
                    break
            assert await scored(world, foe, 20) >= 20

    during(world, attack)


def changed(grant: bytes, **fields: object) -> bytes:
    return encode(replace(decode_grant(grant), **fields))  # type: ignore[arg-type]


def questions(space: bytes, cid: Cid, proof: Proof) -> dict[str, bytes]:
    return {
        SEARCH_PROTOCOL: encode(SearchQuestion(space, "heron", 5, proof)),
        BLOCK_PROTOCOL: encode(BlockQuestion(space, cid, proof)),
    }


def test_a_proof_replayed_by_another_peer_is_refused_and_he_ends_refused(world: World) -> None:
    async def attack() -> None:
        async with reader(world) as (victim, grant):
            proof, space = Proof(grant, victim.certificate()), decode_grant(grant).space
            thief = Foe()
            async with thief.connected(world.alice):
                codes = set()
                while not thief.closed.is_set():
                    for protocol, body in questions(space, world.shared, proof).items():
                        with contextlib.suppress(Dms3Error):
                            answer = await thief.ask(protocol, body)
                            assert isinstance(answer, Failure)
                            codes.add(answer.code)
                assert codes <= {"certificate_invalid", "reset"}
            assert await refusal(world, thief) == "proof_invalid"
            block = await victim.ask(
                BLOCK_PROTOCOL, questions(space, world.shared, proof)[BLOCK_PROTOCOL]
            )
            assert block == b"The heron waits beside the lock."

    during(world, attack)


def test_a_block_outside_the_space_looks_like_none(world: World) -> None:
    async def attack() -> None:
        async with reader(world) as (foe, grant):
            proof, space = Proof(grant, foe.certificate()), decode_grant(grant).space
            absent = Cid.of(RAW, b"nobody has this")
            answers = [
                await foe.ask(BLOCK_PROTOCOL, encode(BlockQuestion(space, cid, proof)))
                for cid in (world.private, absent)
            ]
            assert answers[0] == answers[1]
            assert isinstance(answers[0], Failure)
            assert answers[0].code == "not_found"
            found = await foe.ask(SEARCH_PROTOCOL, encode(SearchQuestion(space, "otter", 5, proof)))
            assert isinstance(found, bytes)
            assert b"otter" not in found

    during(world, attack)


def test_a_withdrawn_grant_is_worth_nothing_at_once(world: World) -> None:
    async def attack() -> None:
        async with reader(world) as (foe, grant):
            body = question(world, BLOCK_PROTOCOL, foe, grant)
            assert isinstance(await foe.ask(BLOCK_PROTOCOL, body), bytes)
            async with Client(home=world.alice.home, api=world.alice.data["api"]) as alice:
                name = f"reader{peer_id_text(foe.peer)[-8:]}"
                await alice.call("store", "unshare", space="letters", **{"with": name})
                answer = await foe.ask(BLOCK_PROTOCOL, body)
                assert isinstance(answer, Failure)
                assert answer.code == "grant_missing"
                await alice.call("store", "share", space="letters", **{"with": name})

    during(world, attack)


def test_offers_of_strangers_and_forged_offers_are_refused(world: World) -> None:
    async def attack() -> None:
        foe = Foe()
        async with reader(world) as (_, grant), foe.connected(world.alice):
            offer = encode(GrantMessage(foe.certificate(), grant, "a trap"))
            answer = await foe.ask(GRANT_PROTOCOL, offer)
            assert isinstance(answer, Failure)
            assert answer.code in ("grant_invalid", "certificate_invalid", "contact_unknown")
        shown = await asyncio.to_thread(world.alice.call, "store", "list")
        assert all(space["name"] != "a trap" for space in shown["spaces"])

    during(world, attack)


def test_alice_is_whole_afterwards(world: World) -> None:
    report = world.alice.call("store", "verify")
    assert report["damaged"] == []
    checks = world.alice.call("doctor")["checks"]
    assert all(check["verdict"] != "fail" for check in checks), checks
