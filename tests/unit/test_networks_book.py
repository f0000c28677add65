"""The book of networks: durable rows, proofs made anew in time, seeds that are kept nowhere."""

import asyncio
from pathlib import Path

import pytest

from dms3.chain.membership import Link, encode_proof, invite
from dms3.chain.membrane import Invite, Open, Seed, Work, proof_end_us
from dms3.chain.networks import (
    TEXT_CHARS_MAX,
    VERSION,
    At,
    Invitation,
    encode_network,
    invitation_text,
    make_network,
    parse_invitation,
)
from dms3.core.errors import DecodeError, Dms3Error
from dms3.core.limits import MEMBERSHIP_LIFE_US_MAX, PASSPHRASE_CHARS_MIN
from dms3.crypto.signing import SigningKey
from dms3.io.clock import SystemEntropy
from dms3.io.schema import MIGRATIONS
from dms3.io.store import Store
from dms3.node.backing import _STATES
from dms3.node.identity import create_identity
from dms3.node.networks_book import TABLE, Book, Row, seed_key

NOW = 1_800_000_000_000_000
SECRET = b"s" * 32
ALICE = create_identity(SystemEntropy(), "alice", "")
ADMIN = SigningKey.of_seed(b"a" * 32)


def row_of(name, membrane, proof=b"", seed=b"", *, local=False):
    network = make_network(name, membrane, SECRET, local=local)
    return Row(VERSION, name, encode_network(network), proof, seed, (), NOW), network


def in_book(tmp_path: Path, work):
    """What `work(book)` gives, and the names that a book read afterwards from disk has."""
    store = Store.open(tmp_path / "store.db", b"k" * 32, MIGRATIONS, reserve=0)
    try:
        given = asyncio.run(work(Book(ALICE, store)))
        again = Book(ALICE, store)
        again.load(store.view())
        return given, [each.name for each in again.all()]
    finally:
        store.close()


def test_what_is_kept_is_there_again_and_what_is_dropped_is_not(tmp_path):
    async def work(book):
        for name in ("walks", "club"):
            joined = await book.keep(row_of(name, Invite((ALICE.root,)))[0])
            assert book.find(name) == book.find(joined.network.id.hex()[:10]) == joined
        await book.drop(book.find("walks"))
        with pytest.raises(Dms3Error, match="no network called 'walks'"):
            book.find("walks")
        return joined

    joined, names = in_book(tmp_path, work)
    assert names == ["club"]
    assert joined.rule == Invite((ALICE.root,))
    assert TABLE.partition("/")[0] in _STATES  # it is in backups


def test_proofs_by_seed_and_work_are_made_anew_when_half_of_them_is_over(tmp_path):
    key = seed_key("seven herons over the weir", SECRET)
    by_seed = row_of("weir", Seed(SigningKey.of_seed(key).public), seed=key)[0]
    by_work = row_of("mill", Work(4))[0]

    async def work(book):
        for row in (by_seed, by_work):
            first = await book.proven(row, NOW)
            end_us = proof_end_us(first.proof)
            assert end_us == NOW + MEMBERSHIP_LIFE_US_MAX
            half_us = MEMBERSHIP_LIFE_US_MAX // 2
            assert await book.proven(first, end_us - half_us - 1) == first
            later = await book.proven(first, end_us - half_us)
            assert proof_end_us(later.proof) == end_us + half_us

    in_book(tmp_path, work)


def test_who_may_not_be_in_is_told_what_to_do(tmp_path):
    network = row_of("club", Invite((ADMIN.public,)))[1]
    theirs = encode_proof(invite(ADMIN, network.id, Link(ADMIN.public, NOW, NOW + 9)))
    wrong = row_of("weir", Seed(ADMIN.public), seed=b"x" * 32)[0]

    async def work(book):
        cases = (
            (row_of("club", Invite((ADMIN.public,)))[0], "Ask a member"),
            (row_of("club", Invite((ADMIN.public,)), theirs)[0], "somebody else"),
            (wrong, "seed is another one"),
            (row_of("weir", Seed(ADMIN.public))[0], "Type its seed"),
        )
        for row, hint in cases:
            with pytest.raises(Dms3Error) as caught:
                await book.proven(row, NOW)
            assert caught.value.code == "not_admitted"
            assert hint in caught.value.hint

    in_book(tmp_path, work)


def test_how_the_dht_joins(tmp_path):
    async def work(book):
        joined = await book.keep(row_of("house", Open(), local=True)[0])
        return book.joining(joined, NOW), joined, book.may_invite(joined)

    (asked, joined, may), _ = in_book(tmp_path, work)
    assert (asked.overlay, asked.membrane, asked.secret) == (joined.network.id, "open", SECRET)
    assert asked.local
    assert may


def test_a_seed_gives_one_key_for_one_network():
    one = seed_key("seven herons", SECRET)
    assert one == seed_key("  seven herons\n", SECRET)
    assert one != seed_key("seven herons", b"t" * 32)
    assert seed_key("x" * PASSPHRASE_CHARS_MIN, SECRET)
    with pytest.raises(Dms3Error, match="8 characters"):
        seed_key("x" * (PASSPHRASE_CHARS_MIN - 1), SECRET)


def test_an_invitation_survives_mail_and_nothing_else():
    network = row_of("club", Invite((ADMIN.public,)))[1]
    node = At(ALICE.peer, ("/ip4/192.0.2.1/tcp/7701",))
    made = Invitation(VERSION, encode_network(network), ALICE.root, b"proof", (node,))
    text = invitation_text(made)
    broken = "\n".join(text[at : at + 60].upper() for at in range(0, len(text), 60))
    assert parse_invitation(f"  {broken}\n") == (made, network)
    assert parse_invitation(f"Come!\n {text}\nFor bob until 2030-01-01\n") == (made, network)
    for wrong in ("", "dms3:abc", text[:-1], text + "a", "x" * (TEXT_CHARS_MAX + 1)):
        with pytest.raises(DecodeError):
            parse_invitation(wrong)
    other = make_network("club", Invite((ADMIN.public,)), b"t" * 32, local=False)
    assert other.id != network.id  # nobody can name it who does not know its secret
    with pytest.raises(ValueError, match="rules of its own"):
        make_network("club", Open("friends"), SECRET, local=False)
    for name in ("", " club", "a\nb", "x" * 65):
        with pytest.raises(ValueError, match="name"):
            make_network(name, Open(), SECRET, local=False)
