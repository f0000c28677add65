"""The key tree: published BIP-32, BIP-44 and EIP-55 vectors, our own file, and separation."""

import itertools
import json
from pathlib import Path

import pytest

from dms3.crypto.keys import KeyTree, checksum_address, derive_bip32, label
from dms3.crypto.signing import verify

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "key-tree.json").read_text())
HARD = 1 << 31
JUNK = "test " * 11 + "junk"
ABOUT = "abandon " * 11 + "about"
DEVICE, DNA = bytes(range(16)), bytes(range(32))


@pytest.mark.parametrize(
    ("path", "key"),  # BIP-32, test vector 1, private keys of the listed chains
    [
        ((), "e8f32e723decf4051aefac8e2c93c9c5b214313817cdb01a1494b917c8436b35"),
        ((HARD,), "edb2e14f9ee77d26dd93b4ecede8d16ed408ce149b6cd80b0715a2d911a0afea"),
        ((HARD, 1), "3c6cb8d0f6a264c91ea8b5030fadaa8e538b020f0a387421a12de9319dc93368"),
    ],
)
def test_bip32_vector_1(path, key):
    assert derive_bip32(bytes(range(16)), path).hex() == key


@pytest.mark.parametrize(
    ("words", "address"),  # BIP-44 first account as every Ethereum wallet shows it
    [
        (JUNK, "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        (ABOUT, "0x9858EfFD232B4033E47d90003D41EC34EcaEda94"),
    ],
)
def test_the_account_is_the_one_every_ethereum_wallet_shows(words, address):
    assert KeyTree.of_words(words).account().address == address


@pytest.mark.parametrize(
    "address",  # EIP-55, test cases
    [
        "0x52908400098527886E0F7030069857D2E4169EE7",
        "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
        "0xde709f2102306220921060314715629080e2fb77",
        "0x27b1fdb04752bbc536007a920d24acb045561c26",
        "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
        "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
        "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
        "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    ],
)
def test_eip55_checksums(address):
    assert checksum_address(bytes.fromhex(address[2:])) == address


@pytest.mark.parametrize("row", VECTORS["trees"], ids=lambda row: row["words"].split()[0])
def test_the_tree_is_the_one_the_record_fixes(row):
    tree = KeyTree.of_words(row["words"])
    device, dna = bytes.fromhex(row["device"]), bytes.fromhex(row["dna"])
    assert {
        "root": tree.root().public.hex(),
        "root_generation_1": tree.root(1).public.hex(),
        "device_key": tree.device(device).public.hex(),
        "agent": tree.agent(device, dna).public.hex(),
        "store": tree.store().hex(),
        "backup": tree.backup().hex(),
        "dm3": tree.dm3().hex(),
        "storage_generation_1": tree.storage(1).hex(),
        "private": tree.private().hex(),
        "account": tree.account().address,
    } == row["keys"]


@pytest.mark.parametrize("row", VECTORS["labels"], ids=lambda row: row["purpose"])
def test_labels_are_the_recorded_bytes(row):
    parts = [bytes.fromhex(part) for part in row["parts"]]
    assert label(row["purpose"], parts, row["generation"]).hex() == row["info"]


def test_purpose_device_dna_and_generation_each_give_another_key():
    tree, other = KeyTree.of_words(JUNK), KeyTree.of_words(ABOUT)
    keys = [
        tree.root().public,
        tree.root(1).public,
        other.root().public,
        tree.device(DEVICE).public,
        tree.device(DEVICE[::-1]).public,
        tree.agent(DEVICE, DNA).public,
        tree.agent(DEVICE, DNA[::-1]).public,
        tree.agent(DEVICE, DNA, 1).public,
        tree.store(),
        tree.store(1),
        tree.backup(),
        tree.dm3(),
        tree.storage(),
        tree.storage(1),
        tree.private(),
        tree.private(1),
    ]
    assert len(set(keys)) == len(keys)


def test_no_two_labels_are_the_same_bytes():
    parts = [(), (b"\0",), (b"\0\0",), (b"\0", b"\0"), (b"a",), (b"a", b"b"), (b"ab",)]
    asked = list(itertools.product(("root", "agent", "roo"), parts, (0, 1, 256)))
    assert len({label(*each) for each in asked}) == len(asked)


@pytest.mark.parametrize(
    ("purpose", "parts", "generation"),
    [
        ("", (), 0),
        ("a\0b", (), 0),
        ("ä", (), 0),
        ("root", (b"",), 0),
        ("root", (bytes(256),), 0),
        ("root", (), -1),
        ("root", (), 1 << 32),
    ],
)
def test_labels_refuse_what_would_be_ambiguous(purpose, parts, generation):
    with pytest.raises(AssertionError):
        label(purpose, parts, generation)


def test_the_limits_of_a_label():
    assert len(label("root", (bytes(255),), (1 << 32) - 1)) == 5 + 4 + 1 + 256 + 1 + 4


def test_secrets_are_not_shown():
    tree = KeyTree.of_words(JUNK)
    shown = f"{tree!r} {tree.root()!r} {tree.account()!r}"
    for secret in (tree.seed, tree.account().secret, tree.store()):
        assert secret.hex() not in shown
        assert repr(secret) not in shown


def test_a_signature_holds_for_one_domain_message_and_key_only():
    key, other = KeyTree.of_words(JUNK).root(), KeyTree.of_words(ABOUT).root()
    signature = key.sign(b"grant", b"text")
    assert verify(key.public, b"grant", b"text", signature)
    assert not verify(key.public, b"certificate", b"text", signature)
    assert not verify(key.public, b"grant", b"text ", signature)
    assert not verify(other.public, b"grant", b"text", signature)
    assert not verify(key.public[:31], b"grant", b"text", signature)
    assert not verify(key.public, b"grant", b"text", signature[:63])
    assert not verify(bytes(32), b"grant", b"text", bytes(64))
