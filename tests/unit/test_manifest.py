"""Manifests of public spaces: who may say what, where it lies, which of two stays."""

import dataclasses

import pytest

from dms3.core.cid import DAG_CBOR, RAW, Cid
from dms3.core.codec import encode
from dms3.core.ids import PeerId
from dms3.core.limits import (
    CLOCK_AHEAD_US_MAX,
    DIRECTORY_KEYS,
    FILTER_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_LIFE_US_MAX,
    PUBLIC_DOCUMENTS_MAX,
    PUBLIC_KINDS_MAX,
    SPACE_NAME_CHARS_MAX,
)
from dms3.core.verdict import Abandoned, Invalid, Valid
from dms3.crypto.signing import SigningKey
from dms3.search.manifest import (
    DIRECTORY,
    Manifest,
    decode_manifest,
    directory_key,
    manifest_type,
    merge,
    retention,
    sign_manifest,
    validate,
)

WALL_US = 1_800_000_000_000_000
ALICE, EVE = SigningKey.of_seed(b"a" * 32), SigningKey.of_seed(b"e" * 32)
PEER = PeerId(bytes.fromhex("002408011220") + b"A" * 32)
SPACE = b"s" * 32
BASE = Manifest(
    v=1,
    space=SPACE,
    name="canal",
    root=ALICE.public,
    peer=PEER,
    index=Cid.of(DAG_CBOR, b"index"),
    documents=3,
    size=300,
    terms=40,
    kinds=("text",),
    filter=b"\x07" + bytes(50),
    created_us=WALL_US,
    until_us=WALL_US + MANIFEST_LIFE_US_MAX,
    withdrawn=False,
    signature=b"",
)


def made(key: SigningKey = ALICE, **more: object) -> bytes:
    return sign_manifest(key, dataclasses.replace(BASE, **more)).value  # type: ignore[arg-type]


def judged(value: bytes, wall_us: int = WALL_US, key: bytes = b"") -> str:
    verdict = validate(key or directory_key(SPACE), value, wall_us)
    if isinstance(verdict, Valid):
        return "valid"
    return verdict.rule if isinstance(verdict, Invalid) else str(getattr(verdict, "reason", ""))


def test_a_signed_manifest_in_date_under_its_key_is_valid() -> None:
    assert judged(made()) == "valid"
    assert judged(made(), WALL_US + MANIFEST_LIFE_US_MAX - 1) == "valid"
    assert judged(made(), WALL_US - CLOCK_AHEAD_US_MAX) == "valid"


def test_what_is_not() -> None:
    forged = dataclasses.replace(decode_manifest(made()), documents=4)
    assert judged(encode(forged)) == "signature"
    assert judged(encode(dataclasses.replace(decode_manifest(made(EVE)), root=ALICE.public))) == (
        "signature"
    )
    assert judged(made()[:-1]) == "form"
    assert judged(b"\xa0") == "form"
    assert judged(encode(BASE)) == "signature"
    others = [key for key in DIRECTORY if key != directory_key(SPACE)]
    assert {judged(made(), key=key) for key in others} == {"key"}
    assert judged(made(), WALL_US + MANIFEST_LIFE_US_MAX) == "expired"
    assert judged(made(), WALL_US - CLOCK_AHEAD_US_MAX - 1) == "from the future"
    assert isinstance(validate(directory_key(SPACE), made(), WALL_US * 2), Abandoned)


@pytest.mark.parametrize(
    "field",
    [
        {"name": ""},
        {"name": "n" * (SPACE_NAME_CHARS_MAX + 1)},
        {"name": "two\nlines"},
        {"space": bytes(32)},
        {"space": b"s"},
        {"peer": b"p"},
        {"documents": PUBLIC_DOCUMENTS_MAX + 1},
        {"documents": -1},
        {"terms": -1},
        {"kinds": ("k",) * (PUBLIC_KINDS_MAX + 1)},
        {"kinds": ("",)},
        {"filter": b"\x07"},
        {"filter": b"\0\0"},
        {"filter": b"\x09" + bytes(9)},
        {"filter": b"\x07" + bytes(FILTER_BYTES_MAX)},
        {"index": Cid.of(RAW, b"index")},
        {"until_us": WALL_US},
        {"until_us": WALL_US + MANIFEST_LIFE_US_MAX + 1},
    ],
)
def test_a_field_out_of_bounds_is_no_manifest(field: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the codec turns any of them into DecodeError
        dataclasses.replace(BASE, **field)  # type: ignore[arg-type]


def test_the_largest_fits() -> None:
    largest = dataclasses.replace(
        BASE,
        name="\U0001f40b" * SPACE_NAME_CHARS_MAX,
        kinds=tuple("k" * 63 + chr(97 + number) for number in range(PUBLIC_KINDS_MAX)),
        filter=b"\x07" + b"\xff" * (FILTER_BYTES_MAX - 1),
        documents=PUBLIC_DOCUMENTS_MAX,
    )
    value = sign_manifest(ALICE, largest).value
    assert len(value) <= MANIFEST_BYTES_MAX
    assert judged(value) == "valid"
    assert judged(value + bytes(MANIFEST_BYTES_MAX)) == "form"


def test_the_newest_stays_and_no_other_root_can_take_its_place() -> None:
    first = made()
    later = made(created_us=WALL_US + 1, withdrawn=True)
    assert merge(first, later) == merge(later, first) == later
    twin = made(name="another")
    assert merge(first, twin) == merge(twin, first)
    kept = retention(b"", first)
    assert kept == retention(b"", made(created_us=WALL_US + 5)) or kept.until_us is not None
    assert retention(b"", first).slot == retention(b"", later).slot
    assert retention(b"", made(EVE)).slot != retention(b"", first).slot
    assert retention(b"", first).until_us == BASE.until_us


def test_the_keys_are_spread_evenly_and_all_are_used() -> None:
    keys = [directory_key(number.to_bytes(32, "big")) for number in range(1_600)]
    counts = {key: keys.count(key) for key in DIRECTORY}
    assert len(counts) == DIRECTORY_KEYS == 16
    assert sum(counts.values()) == 1_600
    assert min(counts.values()) > 50
    assert DIRECTORY[0] == b"manifests/0"
    assert DIRECTORY[15] == b"manifests/f"
    assert manifest_type().value_bytes_max == MANIFEST_BYTES_MAX
