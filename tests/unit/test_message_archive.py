"""Exports of messages: believed for their signatures alone, whoever made the file."""

import asyncio
import gzip
import json
from dataclasses import replace
from typing import Any

import pytest

from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.machine import Now
from dms3.crypto.keys import KeyTree
from dms3.crypto.words import words_of_entropy
from dms3.dm3.canonical import canonical
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.lookup import OwnNames, Resolve, Resolved
from dms3.dm3.message import Message, compose
from dms3.dm3.profile import SignedProfile, UserProfile
from dms3.messaging.operations import Correspondent, Kept, State
from dms3.messaging.people import blank
from dms3.node import message_archive
from dms3.node.message_checking import Checker
from unit.fronts import in_loop

TREE = KeyTree.of_words(words_of_entropy(bytes(16)))
MINE = ProfileKeys.of_seed(TREE.dm3(0))
EARLIER = ProfileKeys.of_seed(TREE.dm3(1))
BOB, MALLORY = ProfileKeys.of_seed(b"b" * 32), ProfileKeys.of_seed(b"m" * 32)


def profile(keys: ProfileKeys) -> SignedProfile:
    return SignedProfile(UserProfile((), keys.encryption_public, keys.signing_public), "0x")


async def call(operation: str, arguments: Any) -> Any:
    """Names and the mailbox: I am me.dms3, bob.eth has the keys of bob."""
    match operation, arguments:
        case "names.own", None:
            return OwnNames("me.dms3", "me.dms3", "node.dms3", ("me.dms3",))
        case "mailbox.profile", None:
            return profile(MINE)
        case "mailbox.people", None:
            one = ("robert", ("robert", "bob.eth"), "0xB0B", "", "contact")
            return (Correspondent(*one, "", False, False, "ens"),)  # type: ignore[arg-type]
        case "names.resolve", Resolve(name="bob.eth"):
            return Resolved("bob.eth", "0xB0B", profile(BOB), None, "ens", "ff")
        case "names.resolve", Resolve(name="carol.eth"):
            return Resolved("carol.eth", "0xCA", profile(BOB), None, "ens", "ff")
    raise Dms3Error("not_found", f"nobody is {arguments}")


def said(keys: ProfileKeys, sender: str, receiver: str = "me.dms3", text: str = "Hello") -> Message:
    return compose(keys, sender=sender, receiver=receiver, sent_ms=7, text=text)


def line(message: Message, **more: Any) -> dict[str, Any]:
    values = {"hash": message.hash, "text": canonical(message.value()), "order_ms": 9}
    return values | {"state": "received"} | more


async def checked(value: dict[str, Any]) -> Kept:
    checker = Checker(call, TREE)
    await checker.start()
    return await checker.check(value)


@in_loop
async def test_what_was_signed_is_taken_from_what_was_signed() -> None:
    wrong = {"person": "mallory.eth", "mine": True, "state": "read", "problem": "no"}
    kept = await checked(line(said(BOB, "bob.eth"), **wrong))
    assert (kept.person, kept.mine, kept.sender) == ("robert", False, "bob.eth")
    assert (kept.sent_ms, kept.order_ms, kept.state, kept.problem) == (7, 9, State.READ, "")
    sent = await checked(line(said(MINE, "me.dms3", "bob.eth"), state="delivered", mine=False))
    assert (sent.person, sent.mine, sent.state) == ("robert", True, State.DELIVERED)
    old = await checked(line(said(EARLIER, "me.dms3", "bob.eth"), state="sent"))
    assert old.state is State.SENT


@in_loop
async def test_nothing_is_sent_because_of_an_import() -> None:
    for state in ("queued", "halted", "received", "held", "?"):
        kept = await checked(line(said(MINE, "me.dms3", "bob.eth"), state=state))
        assert kept.state is State.FAILED
        assert "exported" in kept.problem
    assert (await checked(line(said(BOB, "bob.eth"), state="queued"))).state is State.RECEIVED


@in_loop
async def test_what_nobody_vouches_for_is_held() -> None:
    for keys, sender in ((BOB, "nobody.eth"), (MALLORY, "bob.eth")):
        kept = await checked(line(said(keys, sender)))
        assert kept.state is State.HELD
        assert sender in kept.problem


@in_loop
async def test_a_message_that_i_did_not_sign_is_no_message_of_mine() -> None:
    with pytest.raises(DecodeError, match="I did not sign it"):
        await checked(line(said(MALLORY, "me.dms3", "bob.eth")))


@in_loop
async def test_what_was_changed_is_refused() -> None:
    message = said(BOB, "bob.eth")
    other = replace(message, text="Goodbye")
    good = line(message)
    for wrong in (
        good | {"text": canonical(other.value())},
        good | {"hash": other.hash},
        good | {"text": canonical(message.value()).replace(",", ", ")},
        good | {"text": "{}"},
        good | {"text": "[" * 100_000},
        good | {"text": None},
        good | {"order_ms": "9"},
        good | {"order_ms": -1},
    ):
        with pytest.raises(DecodeError):
            await checked(wrong)
    changed = await checked(line(other))  # whole in itself, with a signature of something else
    assert changed.state is State.HELD


@in_loop
async def test_people_are_who_names_say_now() -> None:
    checker = Checker(call, TREE)
    await checker.start()
    checker.note([{"names": ["carol.eth"], "standing": "blocked", "address": "0xEVIL"}])
    checker.note([{"names": "carol.eth"}, {"standing": 7}, {"names": [3], "standing": "contact"}])
    kept = await checker.check(line(said(BOB, "carol.eth")))
    assert kept.person == "carol.eth"
    ((resolved, standing),) = checker.met()
    assert (resolved.address, standing) == ("0xCA", "blocked")


@in_loop
async def test_what_was_written_to_somebody_else_is_not_shown_as_written_to_me() -> None:
    """Whoever got a message of Bob could put it into a file for me."""
    kept = await checked(line(said(BOB, "bob.eth", "mallory.eth")))
    assert kept.state is State.HELD
    assert "mallory.eth" in kept.problem


@in_loop
async def test_an_account_that_a_record_only_claims_makes_nobody_bob() -> None:
    async def claiming(operation: str, arguments: Any) -> Any:
        if arguments == Resolve("mallory.dms3"):
            aliases = ("bob.eth",)
            return Resolved(
                "mallory.dms3", "0xB0B", profile(BOB), None, "dms3", "ff", "aa", aliases
            )
        return await call(operation, arguments)

    checker = Checker(claiming, TREE)
    await checker.start()
    kept = await checker.check(line(said(MALLORY, "mallory.dms3")))
    assert kept.person == "mallory.dms3"
    ((resolved, standing),) = checker.met()
    record = checker.complete(blank(resolved.name, standing, 0), resolved)
    assert (record.names, record.address) == (("mallory.dms3",), "")


class Numbers:
    """A store whose last message has the number 41."""

    def read(self) -> Any:
        return self

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def execute(self, _: str) -> Any:
        return self

    def fetchone(self) -> tuple[int]:
        return (41,)


class Tables:
    """A node that keeps what an import brings."""

    def __init__(self) -> None:
        self.kept: list[Kept] = []
        self.ports = {"messages": self._keep}
        self.clock = self
        self.store = Numbers()
        self.called: list[tuple[str, Any]] = []

    async def call(self, operation: str, arguments: Any) -> None:
        self.called.append((operation, arguments))

    def now(self) -> Now:
        return Now(0, 8_000)

    async def _keep(self, _: str, some: tuple[Kept, ...]) -> tuple[bool, ...]:
        news = tuple(one not in self.kept for one in some)
        self.kept += some
        return news


@in_loop
async def test_nothing_in_a_file_stands_in_the_future() -> None:
    node, checker = Tables(), Checker(call, TREE)
    await checker.start()
    far = line(said(BOB, "bob.eth"), kind="message", order_ms=(1 << 53) - 1)
    taken = message_archive._Taken()
    await message_archive._take(node, checker, [(2, far)], taken)  # type: ignore[arg-type]
    assert [one.order_ms for one in node.kept] == [8]


@in_loop
async def test_storage_is_told_of_what_is_new_in_an_import_and_of_nothing_else() -> None:
    node, checker = Tables(), Checker(call, TREE)
    await checker.start()
    one = [(2, line(said(BOB, "bob.eth"), kind="message"))]
    for _ in range(2):
        await message_archive._take(node, checker, one, message_archive._Taken())  # type: ignore[arg-type]
    assert node.called == [("mailbox.brought", 41)]


def packed(*lines: Any) -> bytes:
    return gzip.compress(b"".join(json.dumps(one).encode() + b"\n" for one in lines), mtime=0)


FIRST = {"format": "dms3 messages", "v": 1}
END = {"kind": "end", "messages": 1}


class FakeSpool:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def read(self, _: str) -> Any:
        return iter([self.data[at : at + 7] for at in range(0, len(self.data), 7)])


class FakeNode:
    def __init__(self, data: bytes) -> None:
        self.spool = FakeSpool(data)


def lines_of(data: bytes) -> list[Any]:
    file = message_archive.BlobOrPath("ab" * 16)
    return list(message_archive._lines(FakeNode(data), file))  # type: ignore[arg-type]


def test_a_file_is_read_to_its_end() -> None:
    message = {"kind": "message", "text": "x" * 100_000}
    assert lines_of(packed(FIRST, message, END)) == [(2, message)]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "content_invalid"),
        (b"not gzip at all", "argument_invalid"),
        (gzip.compress(b"no json\n", mtime=0), "argument_invalid"),
        (packed({"format": "other"}), "argument_invalid"),
        (packed(FIRST | {"v": 2}), "home_newer"),
        (packed(FIRST), "content_invalid"),
        (packed(FIRST, {"kind": "message"}), "content_invalid"),
        (packed(FIRST, END), "content_invalid"),
        (packed(FIRST, {"kind": "message"}, END)[:-12], "content_invalid"),
        (packed(FIRST, [], END), "content_invalid"),
    ],
)
def test_a_file_that_is_none_or_not_whole_is_said(data: bytes, code: str) -> None:
    with pytest.raises(Dms3Error) as refused:
        lines_of(data)
    assert refused.value.code == code


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_archive, "ARCHIVE_LINE_BYTES_MAX", 1_000)
    monkeypatch.setattr(message_archive, "MIB", 500)
    with pytest.raises(Dms3Error, match="too long"):
        lines_of(packed(FIRST, {"text": "x" * 5_000}, END))


def test_the_checker_asks_for_each_name_once() -> None:
    asked: list[str] = []

    async def counting(operation: str, arguments: Any) -> Any:
        asked.append(operation)
        return await call(operation, arguments)

    async def scenario() -> None:
        checker = Checker(counting, TREE)
        await checker.start()
        for number in range(5):
            await checker.check(line(said(BOB, "bob.eth", text=str(number))))

    asyncio.run(scenario())
    assert asked.count("names.resolve") == 1
