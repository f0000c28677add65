"""What a warrant may warn of, what it is when its action is judged, and how it is handed on."""

import pytest

from dms3.chain.action import SIGNED_WARRANT_BYTES_MAX, encode_signed
from dms3.chain.warrant import (
    FALSE,
    NO_OFFENCE,
    WarrantNews,
    accused_of,
    check_evidence,
    check_warrant,
    decode_evidence,
    decode_news,
    encode_news,
    fork_evidence,
    rule_evidence,
)
from dms3.core.errors import DecodeError
from dms3.core.limits import EVIDENCE_BYTES_MAX, WARRANT_NEWS_BYTES_MAX
from dms3.core.verdict import Abandoned, Invalid, Unresolved, Valid
from unit.chain.chain_kit import ALICE, BOB, DNA, T0, Chain


def two():
    chain = Chain.begun()
    return chain, *(chain.draft("close", other_dna=bytes([n]) * 32, to=BOB.public) for n in (1, 2))


def warrant(evidence, to=ALICE.public):
    return Chain.begun(BOB).draft("warrant", to=to, proof=evidence)


def test_evidence_of_a_fork_is_one_whichever_side_came_first():
    _, one, other = two()
    evidence = fork_evidence(one.signed, other.signed)
    assert evidence == fork_evidence(other.signed, one.signed)
    assert check_evidence(evidence, DNA.id, ALICE.public) == ""
    assert accused_of(warrant(evidence).signed.action) is None


@pytest.mark.parametrize("rule", NO_OFFENCE)
def test_what_an_honest_author_may_seem_to_break_is_no_offence(rule):
    _, one, _ = two()
    assert "no offence" in check_evidence(rule_evidence(one.signed, rule), DNA.id, ALICE.public)
    assert check_evidence(rule_evidence(one.signed, "closed"), DNA.id, ALICE.public) == ""


def test_the_accused_action_is_that_of_the_evidence():
    _, one, _ = two()
    found = accused_of(warrant(rule_evidence(one.signed, "short")).signed.action)
    assert found.hash == one.signed.hash


@pytest.mark.parametrize(
    ("accused", "kind"),
    [
        (Invalid("short", "too long"), Valid),
        (Valid(), Invalid),
        (Abandoned("too much fuel"), Abandoned),
        (Unresolved((b"x",)), Unresolved),
        *((Invalid(rule, "as others say"), Abandoned) for rule in NO_OFFENCE),
    ],
    ids=str,
)
def test_a_warrant_is_what_the_accused_action_is_not(accused, kind):
    found = check_warrant(accused)
    assert type(found) is kind
    if kind is Invalid:
        assert found.rule == FALSE


def test_what_is_too_long_to_be_evidence_is_none():
    chain = Chain.begun()
    fits = chain.draft("warrant", to=BOB.public, proof=b"x" * (EVIDENCE_BYTES_MAX - 1_000))
    longer = chain.draft("warrant", to=BOB.public, proof=b"x" * EVIDENCE_BYTES_MAX)
    assert decode_evidence(rule_evidence(fits.signed, "warrant")).rule == "warrant"
    assert rule_evidence(longer.signed, "warrant") == b""


def test_news_come_back_and_are_bounded():
    _, one, _ = two()
    said = warrant(rule_evidence(one.signed, "short")).signed
    room = WARRANT_NEWS_BYTES_MAX - len(encode_news(WarrantNews(1, encode_signed(said)))) - 2
    whole = encode_news(WarrantNews(1, encode_signed(said), b"o" * room))
    assert len(whole) == WARRANT_NEWS_BYTES_MAX
    assert decode_news(whole) == (said, b"o" * room)
    assert encode_news(WarrantNews(1, encode_signed(said), b"o" * (room + 1))) == b""
    with pytest.raises(DecodeError):
        decode_news(whole + b"\0")
    with pytest.raises(DecodeError, match="none"):
        decode_news(encode_news(WarrantNews(1, encode_signed(one.signed))))
    with pytest.raises(ValueError, match="too long"):
        WarrantNews(1, bytes(SIGNED_WARRANT_BYTES_MAX + 1))
    with pytest.raises(ValueError, match="version"):
        WarrantNews(2, b"w")


def test_the_time_of_an_action_does_not_matter_to_evidence():
    chain, one, _ = two()
    later = chain.draft("close", other_dna=b"o" * 32, to=BOB.public, time_us=T0 + 10**9)
    assert check_evidence(fork_evidence(one.signed, later.signed), DNA.id, ALICE.public) == ""
