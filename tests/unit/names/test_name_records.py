"""What the overlay holds of names: who may say what, and which of two stays."""

import dataclasses

import pytest

from dms3.core.codec import encode
from dms3.core.limits import (
    CLOCK_AHEAD_US_MAX,
    NAME_CLAIM_BYTES_MAX,
    NAME_LABEL_CHARS_MAX,
    NAME_LABEL_CHARS_MIN,
    NAME_RECORD_LIFE_US,
    PROFILE_RECORD_BYTES_MAX,
)
from dms3.core.overlay import Content
from dms3.core.verdict import Abandoned, Invalid, Valid
from dms3.crypto.signing import SigningKey
from dms3.names import claim, record
from unit.names.names_kit import ALICE, BOB, EVE, WALL_US, claimed


def judged(content: Content, wall_us: int = WALL_US) -> str:
    validate = record.validate if content.type == record.NAME else claim.validate
    verdict = validate(content.key, content.value, wall_us)
    if isinstance(verdict, Invalid):
        return verdict.rule
    return verdict.reason if isinstance(verdict, Abandoned) else type(verdict).__name__.lower()


def changed_record(**more: object) -> bytes:
    made = record.decode_record(BOB.record().value)
    return encode(dataclasses.replace(made, **more))  # type: ignore[arg-type]


def test_a_record_of_a_key_is_valid_under_it_and_in_date() -> None:
    assert judged(BOB.record()) == "valid"
    assert judged(BOB.record(), WALL_US + 10**12 - 1) == "valid"
    assert judged(BOB.record(), WALL_US + 10**12) == "expired"
    assert judged(BOB.record(), WALL_US - CLOCK_AHEAD_US_MAX) == "valid"
    assert judged(BOB.record(), WALL_US - CLOCK_AHEAD_US_MAX - 1) == "from the future"


def test_what_is_no_record_of_the_key() -> None:
    good = BOB.record()
    forged = changed_record(address=EVE.account.address)
    assert judged(Content("profile", good.key, forged)) == "signature"
    stolen = changed_record(key=EVE.root.public)
    key = record.record_key(EVE.root.public)
    assert judged(Content("profile", key, stolen)) == "signature"
    assert judged(Content("profile", key, good.value)) == "key"
    assert judged(Content("profile", good.key, good.value[:-1])) == "form"
    assert judged(Content("profile", good.key, bytes(PROFILE_RECORD_BYTES_MAX + 1))) == "form"


@pytest.mark.parametrize(
    "more",
    [
        {"v": 2},
        {"address": "0x"},
        {"address": "", "profile": b"{}"},
        {"until_us": WALL_US + NAME_RECORD_LIFE_US + 1},
        {"until_us": WALL_US},
        {"sequence": -1},
        {"signature": b"1"},
    ],
)
def test_a_record_whose_fields_break_a_rule(more: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        dataclasses.replace(record.decode_record(BOB.record().value), **more)  # type: ignore[arg-type]


def test_a_record_lives_a_month_and_no_longer() -> None:
    made = record.decode_record(BOB.record().value)
    most = dataclasses.replace(made, until_us=WALL_US + NAME_RECORD_LIFE_US)
    assert judged(record.sign_record(BOB.root, most)) == "valid"
    assert record.profile_type().life_us == NAME_RECORD_LIFE_US


def test_a_record_that_is_too_large_is_not_made() -> None:
    with pytest.raises(ValueError, match="bytes"):
        BOB.record(service=b"x" * PROFILE_RECORD_BYTES_MAX)


def test_the_newest_record_of_a_key_stays_in_either_order() -> None:
    old, new = BOB.record(sequence=1).value, BOB.record(sequence=2).value
    assert record.merge(old, new) == record.merge(new, old) == new


def test_a_claim_is_valid_under_its_name_and_paid_for() -> None:
    good = claimed(BOB, "bob.dms3")
    assert judged(good) == "valid"
    made = claim.decode_claim(good.value)
    assert claim.is_work("bob.dms3", BOB.root.public, made.work)
    cheap = claim.sign_claim(BOB.root, dataclasses.replace(made, work=made.work + 1))
    assert judged(cheap) == "work"


def test_the_work_of_one_claim_pays_for_no_other() -> None:
    made = claim.decode_claim(claimed(BOB, "bob.dms3").value)
    other_name = claim.sign_claim(BOB.root, dataclasses.replace(made, name="bobby.dms3"))
    other_root = claim.sign_claim(EVE.root, made)
    assert judged(other_name) == "work"
    assert judged(other_root) == "work"


def test_what_is_no_claim_to_the_name() -> None:
    good = claimed(BOB, "bob.dms3")
    made = claim.decode_claim(good.value)
    forged = dataclasses.replace(made, since_us=made.since_us + 1)
    assert judged(Content("name", good.key, encode(forged))) == "signature"
    assert judged(Content("name", claim.claim_key("eve.dms3"), good.value)) == "key"
    assert judged(Content("name", good.key, good.value[1:])) == "form"
    assert judged(Content("name", good.key, bytes(NAME_CLAIM_BYTES_MAX + 1))) == "form"
    assert judged(good, WALL_US + 10**12) == "expired"


@pytest.mark.parametrize(
    "label",
    [
        "a" * (NAME_LABEL_CHARS_MIN - 1),
        "a" * (NAME_LABEL_CHARS_MAX + 1),
        "Alice",
        "al.ice",
        "-alice",
        "alice-",
        "al_ice",
        "\N{CYRILLIC SMALL LETTER A}lice",
        "",
    ],
)
def test_labels_that_nobody_may_claim(label: str) -> None:
    made = claim.decode_claim(claimed(BOB, "bob.dms3").value)
    with pytest.raises(ValueError, match=r"\w"):
        dataclasses.replace(made, name=f"{label}.dms3")


@pytest.mark.parametrize("label", ["a" * NAME_LABEL_CHARS_MIN, "a" * NAME_LABEL_CHARS_MAX, "a-1"])
def test_labels_at_the_bounds_may_be_claimed(label: str) -> None:
    made = claim.decode_claim(claimed(BOB, "bob.dms3").value)
    assert dataclasses.replace(made, name=f"{label}.dms3").name


def test_no_name_of_a_key_can_be_claimed() -> None:
    """It would stand for another key than its own."""
    assert NAME_LABEL_CHARS_MAX < 52


def test_the_held_claim_stays_against_an_earlier_date_and_is_renewed_by_its_root() -> None:
    """A date proves nothing: whoever comes later may write any."""
    held, back_dated = claimed(BOB, "bob.dms3"), claimed(EVE, "bob.dms3", WALL_US - 10**11)
    assert claim.merge(held.value, back_dated.value) == held.value
    assert claim.merge(back_dated.value, held.value) == back_dated.value
    later = claimed(BOB, "bob.dms3", WALL_US + 1)
    assert claim.merge(held.value, later.value) == later.value
    assert claim.merge(later.value, held.value) == later.value


def test_a_name_is_signed_for_nothing_else() -> None:
    """The same bytes signed in another domain are no claim and no record."""
    bare = dataclasses.replace(record.decode_record(ALICE.record().value), signature=b"")
    key = SigningKey.of_seed(b"k" * 32)
    bare = dataclasses.replace(bare, key=key.public)
    wrong = dataclasses.replace(bare, signature=key.sign(claim.DOMAIN, encode(bare)))
    content = Content("profile", record.record_key(key.public), encode(wrong))
    assert judged(content) == "signature"
    assert isinstance(record.validate(*_parts(record.sign_record(key, bare))), Valid)


def _parts(content: Content) -> tuple[bytes, bytes, int]:
    return content.key, content.value, WALL_US
