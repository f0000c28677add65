"""Grants to call functions: who may, who may not, and what each is told."""

import dataclasses
from itertools import count
from typing import Any

import pytest

from dms3.core.codec import decode, encode
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.ids import OverlayId, PeerId, RequestId, Root, SpaceId
from dms3.core.limits import (
    CALL_GRANTS_MAX,
    CAPABILITY_BYTES_MAX,
    CLOCK_AHEAD_US_MAX,
    DNA_NAME_CHARS_MAX,
    RIGHTS_MAX,
)
from dms3.core.machine import Delete, Now, Persist, Reply
from dms3.crypto.grant import Grant, issue_grant
from dms3.crypto.keys import KeyTree
from dms3.crypto.signing import SigningKey
from dms3.source.capabilities import (
    TABLE,
    Capabilities,
    Give,
    Token,
    Who,
    allows,
    decode_token,
)
from dms3.source.grounds import Grounds, Own
from unit.source.parties_kit import World

WALL_US = 1_800_000_000_000_000
HOUR_US = 3_600_000_000
APP, OTHER_APP = OverlayId(b"a" * 32), OverlayId(b"o" * 32)
ALICE, BOB, EVE = (KeyTree(letter * 64) for letter in (b"a", b"b", b"e"))


class Counted:
    """Entropy of a test: every draw is another."""

    def __init__(self) -> None:
        self.numbers = count(1)

    def draw(self, size):
        return next(self.numbers).to_bytes(size, "big")


class Book:
    """The part, with its rows kept as a node would."""

    def __init__(self, rows=None) -> None:
        own = Own(PeerId(b"p" * 38), b"d" * 16, ALICE)
        self.grounds = Grounds(own, Counted())
        self.rows = rows if rows is not None else {}
        self.part = Capabilities(self.grounds)
        self.at(0)
        self.part.load(self)

    def get(self, table, key):
        return self.rows.get((table, key))

    def range(self, table, start, limit):
        rows = sorted((k, v) for (t, k), v in self.rows.items() if t == table and k >= start)
        return rows[:limit]

    def at(self, us):
        self.grounds.desk.now = Now(us, WALL_US + us)

    def call(self, name, arguments):
        self.part.operations()[name](arguments, RequestId(1))
        answer = None
        for effect in self.grounds.desk.take():
            match effect:
                case Persist(table, key, value):
                    self.rows[table, key] = value
                case Delete(table, key):
                    del self.rows[table, key]
                case Reply(_, body):
                    answer = body
        return answer

    def give(self, *functions: str, reader: KeyTree | None = BOB, **more: Any):
        root = reader.root_id() if reader else None
        return self.call("grant", Give(APP, functions, root, **more))

    def asks(self, capability, function="read", by=BOB, app=APP, us=0):
        """What comes of it when the person `by` shows the capability."""
        token = decode_token(capability.data)
        bearer = SigningKey.of_seed(token.secret).public if token.secret else b""
        who = Who(app, by.root_id(), bearer)
        try:
            return allows(self.part.given, function, who, token.grant, WALL_US + us)
        except Dms3Error as error:
            return error.code


def test_an_assigned_grant_is_its_readers_and_a_transferable_one_its_bearers():
    book = Book()
    mine, anybodys = book.give("read", "write"), book.give("read", reader=None)
    for capability in (mine, anybodys):
        assert isinstance(book.asks(capability), Grant)
        assert book.asks(capability, "erase") == "grant_missing"
        assert book.asks(capability, app=OTHER_APP) == "grant_invalid"
    assert isinstance(book.asks(mine, "write"), Grant)
    assert book.asks(mine, by=EVE) == "grant_invalid"
    assert isinstance(book.asks(anybodys, by=EVE), Grant)
    assert (mine.reader, anybodys.reader) == (BOB.root_id(), None)


def test_who_has_seen_a_transferable_grant_but_not_its_secret_may_not():
    book = Book()
    grant = decode_token(book.give("read", reader=None).data).grant
    for bearer in (b"", EVE.root_id()):
        with pytest.raises(Dms3Error) as caught:
            allows(book.part.given, "read", Who(APP, EVE.root_id(), bearer), grant, WALL_US)
        assert caught.value.code == "grant_invalid"


def test_without_a_grant_the_refusal_names_the_function():
    with pytest.raises(Dms3Error, match="'read'") as caught:
        allows(Book().part.given, "read", Who(APP, BOB.root_id()), b"", WALL_US)
    assert caught.value.code == "grant_missing"


def test_a_grant_begins_and_ends():
    book = Book()
    book.at(HOUR_US)
    capability = book.give("read", until_us=WALL_US + 2 * HOUR_US)
    assert book.asks(capability, us=HOUR_US - CLOCK_AHEAD_US_MAX - 1) == "not_yet_valid"
    assert isinstance(book.asks(capability, us=HOUR_US - CLOCK_AHEAD_US_MAX), Grant)
    assert isinstance(book.asks(capability, us=2 * HOUR_US - 1), Grant)
    assert book.asks(capability, us=2 * HOUR_US) == "grant_expired"


def test_taking_back_counts_at_once_and_after_a_restart():
    book = Book()
    kept, gone = book.give("read"), book.give("read", reader=None)
    assert book.call("revoke", gone.serial) is True
    assert book.asks(gone) == "grant_missing"
    assert book.call("revoke", gone.serial) is False
    again = Book(book.rows)
    assert again.asks(gone) == "grant_missing"
    assert isinstance(again.asks(kept), Grant)
    assert again.call("grants", APP) == (kept,)
    assert again.call("grants", None) == (kept,)
    assert again.call("grants", OTHER_APP) == ()


def forged(change):
    """What somebody else makes of a real grant."""
    book = Book()
    capability = book.give("read")
    real = decode(Grant, decode_token(capability.data).grant)
    data = encode(Token(1, encode(change(real)), b""))
    return book.asks(dataclasses.replace(capability, data=data), by=EVE)


def made_by(key, space=APP, reader=EVE):
    dates = (WALL_US, WALL_US + HOUR_US)
    return issue_grant(key, SpaceId(space), reader.root_id(), ["call:read"], dates, b"#" * 16)


@pytest.mark.parametrize(
    "change",
    [
        lambda real: dataclasses.replace(real, reader=EVE.root_id()),
        lambda real: dataclasses.replace(real, rights=("call:erase",)),
        lambda _: made_by(EVE.root()),
        lambda real: dataclasses.replace(made_by(EVE.root()), issuer=real.issuer),
        lambda _: made_by(BOB.root()),  # an attenuated one: by the reader of a wider one
    ],
    ids=["reader", "right", "of himself", "in another's name", "attenuated"],
)
def test_a_forged_grant(change):
    assert forged(change) == "grant_invalid"


def test_a_grant_of_another_device_of_the_person_is_not_known_here():
    assert forged(lambda _: made_by(ALICE.root())) == "grant_missing"


def test_what_cannot_be_read():
    with pytest.raises(Dms3Error) as caught:
        allows(Book().part.given, "read", Who(APP, b""), b"\xff", WALL_US)
    assert caught.value.code == "grant_invalid"
    with pytest.raises(DecodeError, match="too long"):
        decode_token(bytes(CAPABILITY_BYTES_MAX + 1))
    with pytest.raises(DecodeError, match="no capability"):
        decode_token(encode(decode(_Token, encode(_Token(1, b"", b"short")))))


@dataclasses.dataclass(frozen=True)
class _Token:
    v: int
    grant: bytes
    secret: bytes


def test_bounds_of_a_grant():
    book = Book()
    longest = [f"{number}".rjust(DNA_NAME_CHARS_MAX, "a") for number in range(RIGHTS_MAX)]
    full = book.give(*longest, reader=None)
    assert isinstance(book.asks(full, longest[-1]), Grant)
    bad = [(), (*longest, "one_more"), ("a" * (DNA_NAME_CHARS_MAX + 1),), ("",), ("a b",)]
    for functions in bad:
        with pytest.raises(Dms3Error) as caught:
            book.give(*functions)
        assert caught.value.code == "argument_invalid"
    with pytest.raises(Dms3Error) as caught:
        book.give("read", until_us=WALL_US)
    assert caught.value.code == "argument_invalid"


def test_a_full_table_lets_go_of_what_has_expired(monkeypatch):
    assert CALL_GRANTS_MAX > 2
    monkeypatch.setattr("dms3.source.capabilities.CALL_GRANTS_MAX", 2)
    book = Book()
    book.give("read", until_us=WALL_US + 1)
    kept = book.give("read")
    book.at(1)
    book.give("write")
    assert len(book.rows) == 2
    with pytest.raises(Dms3Error) as caught:
        book.give("third")
    assert caught.value.code == "limit_reached"
    assert book.call("revoke", kept.serial)
    book.give("third")


def test_secrets_are_not_shown_and_lie_in_one_table():
    book = Book()
    capability = book.give("read", reader=None, name="for the club")
    secret = decode_token(capability.data).secret
    for shown in (repr(capability), repr(decode_token(capability.data))):
        assert repr(secret) not in shown
        assert secret.hex() not in shown
    assert {table for table, _ in book.rows} == {TABLE}
    assert book.call("grants", APP)[0].name == "for the club"


def test_nobody_is_no_reader():
    (party,) = World("a").parties
    answer = party.call("grant", Give(party.call("chains", None)[0].overlay, ("read",), Root(b"")))
    assert answer.code == "argument_invalid"
