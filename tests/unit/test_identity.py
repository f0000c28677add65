"""Node keys solve the puzzle of peer ids; keys of older homes stay as they are."""

import hashlib

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import ID_WORK_BITS
from dms3.io.clock import SystemEntropy
from dms3.libp2p.peer_id import NodeKey, id_work
from dms3.node import identity
from dms3.node.identity import create_identity, keep_identity, load_identity


class Row:
    """A database of one row."""

    def __init__(self, persist) -> None:
        self.persist = persist

    def get(self, table, key):
        return (
            self.persist.value if (table, key) == (self.persist.table, self.persist.key) else None
        )


class Same:
    """Entropy that repeats itself: the search for a key must not depend on fresh draws."""

    def draw(self, count):
        return bytes(range(count))


def test_work_is_the_zero_bits_before_the_first_one():
    public = bytes(32)
    digest = hashlib.sha256(hashlib.sha256(public).digest()).digest()
    bits = "".join(f"{byte:08b}" for byte in digest)
    assert id_work(public) == bits.index("1")
    works = [id_work(number.to_bytes(32, "big")) for number in range(4096)]
    assert 2 <= sum(work >= 10 for work in works) <= 12, "about one in a thousand"
    assert abs(sum(work == 0 for work in works) - 2048) < 200


@pytest.mark.parametrize("entropy", [SystemEntropy(), Same()])
def test_a_new_home_has_a_key_that_solves_the_puzzle(entropy):
    made = create_identity(entropy, "alice")
    assert id_work(made.node_key.public.data) >= ID_WORK_BITS
    kept = load_identity(Row(keep_identity(made)))
    assert kept is not None
    assert kept.peer == made.peer


def test_two_homes_have_two_keys():
    one, two = (create_identity(SystemEntropy(), "alice") for _ in range(2))
    assert one.peer != two.peer


def test_an_older_home_keeps_its_key():
    key = NodeKey(bytes(32))
    assert id_work(key.public.data) < ID_WORK_BITS
    made = create_identity(Same(), "alice")
    old = identity.Identity(made.words, key, made.device, made.name, made.tree)
    kept = load_identity(Row(keep_identity(old)))
    assert kept is not None
    assert kept.peer == key.peer_id


def test_the_search_ends(monkeypatch):
    monkeypatch.setattr(identity, "ID_WORK_BITS", 200)
    monkeypatch.setattr(identity, "ID_WORK_TRIES_MAX", 8)
    with pytest.raises(Dms3Error, match="None of 8 keys"):
        create_identity(Same(), "alice")
