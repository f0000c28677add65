"""BIP-39 words: published vectors, and what each mistake is told."""

import pytest

from dms3.core.errors import Dms3Error
from dms3.crypto.words import entropy_of_words, seed_of_words, words_of_entropy

# BIP-39 reference vectors (trezor/python-mnemonic vectors.json), twelve-word entries.
VECTORS = [
    ("00" * 16, "abandon " * 11 + "about"),
    ("7f" * 16, "legal winner thank year wave sausage worth useful legal winner thank yellow"),
    ("80" * 16, "letter advice cage absurd amount doctor acoustic avoid letter advice cage above"),
    ("ff" * 16, "zoo " * 11 + "wrong"),
]
ABOUT = "abandon " * 11 + "about"


@pytest.mark.parametrize(("entropy", "words"), VECTORS)
def test_published_vectors_both_ways(entropy, words):
    assert words_of_entropy(bytes.fromhex(entropy)) == words
    assert entropy_of_words(words) == bytes.fromhex(entropy)


def test_the_seed_of_the_best_known_words():
    # BIP-39 with an empty passphrase; the value every wallet gives for these words.
    assert seed_of_words(ABOUT).hex() == (
        "5eb00bbddcf069084889a8ab9155568165f5c453ccb85e70811aaed6f6da5fc1"
        "9a5ac40b389cd370d086206dec8aa6c43daea6690f20ad3d8d48b2d2ce9e38e4"
    )


def test_case_and_spacing_do_not_matter():
    assert seed_of_words("  ABANDON\n" + "abandon\t " * 10 + "About ") == seed_of_words(ABOUT)


@pytest.mark.parametrize("count", [0, 1, 11, 13, 24])
def test_another_number_of_words_is_named(count):
    with pytest.raises(Dms3Error) as caught:
        entropy_of_words("abandon " * count)
    assert caught.value.code == "words_invalid"
    assert f"found {count}" in str(caught.value)


def test_words_outside_the_list_are_named_by_place_and_the_right_ones_never_shown():
    words = "legal winer thank year wave sausage worth useful legl winner thank yellow"
    with pytest.raises(Dms3Error) as caught:
        entropy_of_words(words)
    text = str(caught.value)
    assert "word 2 ('winer')" in text
    assert "word 9 ('legl')" in text
    assert "sausage" not in text


@pytest.mark.parametrize(
    "words",
    [
        "abandon " * 12,  # last word carries the wrong checksum
        "winner legal thank year wave sausage worth useful legal winner thank yellow",
        "legal winner thank year wave sausage worth useful legal winner thank zoo",
    ],
)
def test_a_checksum_that_does_not_fit_is_said_without_repeating_the_words(words):
    with pytest.raises(Dms3Error) as caught:
        entropy_of_words(words)
    assert "checksum" in str(caught.value)
    assert not set(words.split()) & set(str(caught.value).replace("'", " ").split())


def test_endless_text_is_refused_at_once():
    assert entropy_of_words(ABOUT + " " * (512 - len(ABOUT))) == bytes(16)
    with pytest.raises(Dms3Error, match="too many"):
        entropy_of_words(ABOUT + " " * (513 - len(ABOUT)))


def test_most_single_wrong_words_are_caught_and_none_gives_the_same_entropy():
    caught = 0
    for place in range(12):
        words = VECTORS[1][1].split()
        words[place] = "zoo"
        try:
            assert entropy_of_words(" ".join(words)) != bytes.fromhex("7f" * 16)
        except Dms3Error:
            caught += 1  # the checksum has four bits: 15 of 16 on average
    assert caught >= 10
