"""What a network can be made of: refusals say what could be given, and how."""

from __future__ import annotations

import pytest

from dms3.core.errors import Dms3Error
from dms3.core.limits import INVITATION_SIGNERS_MAX, MEMBERSHIP_WORK_BITS_MAX
from dms3.node.networks_answers import _DAYS_MAX, DAY_US, _microseconds
from dms3.node.networks_rules import _check_named, _check_numbers
from dms3.node.services_network import Wish


def wish(membrane: str, needed: int = 1, **given: object) -> Wish:
    rest = {"admins": (), "seed": None, "bits": 20, "apps": ()} | given
    return Wish(membrane, rest["admins"], needed, rest["seed"], rest["bits"], rest["apps"])


def refused(check: object, *given: object) -> Dms3Error:
    with pytest.raises(Dms3Error) as caught:
        check(*given)
    assert caught.value.code == "argument_invalid"
    assert caught.value.hint
    return caught.value


def test_a_seed_and_apps_belong_to_their_membranes():
    assert "needs one" in refused(_check_named, wish("seed")).message
    assert "--seed-file -" in refused(_check_named, wish("seed")).hint
    assert "no other" in refused(_check_named, wish("invite", seed="seven herons")).message
    assert "--apps APP" in refused(_check_named, wish("immune")).hint
    assert "no other" in refused(_check_named, wish("work", apps=("guestbook",))).message
    for good in (
        wish("invite"),
        wish("seed", seed="seven herons"),
        wish("immune", apps=("guestbook",)),
    ):
        _check_named(good)


def test_more_signatures_than_admins_are_refused_with_how_many_there_could_be():
    alone = refused(_check_numbers, wish("invite", 2), 1)
    assert alone.message == "With one admin --needed is 1, not 2."
    assert "--admins CONTACT" in alone.hint
    three = refused(_check_numbers, wish("immune", 4), 3)
    assert three.message == "With 3 admins --needed is 1 to 3, not 4."
    assert "not 0" in refused(_check_numbers, wish("invite", 0), 3).message
    _check_numbers(wish("invite", 3), 3)
    _check_numbers(wish("invite", INVITATION_SIGNERS_MAX), 16)
    refused(_check_numbers, wish("invite", INVITATION_SIGNERS_MAX + 1), 16)
    _check_numbers(wish("immune", 16), 16)


def test_work_and_days_have_two_ends():
    for bits in (1, MEMBERSHIP_WORK_BITS_MAX):
        _check_numbers(wish("work", bits=bits), 1)
    for bits in (0, MEMBERSHIP_WORK_BITS_MAX + 1):
        assert f"not {bits}" in refused(_check_numbers, wish("work", bits=bits), 1).message
    assert _microseconds(1) == DAY_US
    assert _microseconds(_DAYS_MAX) == _DAYS_MAX * DAY_US
    for days in (0, _DAYS_MAX + 1):
        assert f"not {days:,}" in refused(_microseconds, days).message
