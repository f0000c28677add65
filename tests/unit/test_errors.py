"""The table of codes and the errors made from it."""

import pytest

from dms3.core.errors import (
    CODES,
    EXIT_STATUS,
    Blame,
    DecodeError,
    Dms3Error,
    Exit,
    Failure,
    Retry,
)


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_makes_an_error(code):
    error = Dms3Error(code, "It happened.", hint="Do this.")
    assert str(error) == "It happened. Do this."
    assert code.isidentifier()
    assert code == code.lower()
    assert 400 <= error.http_status <= 599
    assert 1 <= error.exit_status <= 5
    assert error.blame is CODES[code].blame
    assert error.retry is CODES[code].retry


def test_exit_statuses_are_those_of_the_interface():
    statuses = {meaning.value: EXIT_STATUS[meaning] for meaning in Exit}
    assert statuses == {"failed": 1, "usage": 2, "unreachable": 3, "rejected": 4, "timed_out": 5}


def test_an_unknown_code_is_a_programming_error():
    with pytest.raises(AssertionError, match="nonsense"):
        Dms3Error("nonsense", "x")


def test_blame_and_retry_can_be_given():
    error = Dms3Error("internal", "x", blame=Blame.PEER, retry=Retry.OTHER_PEER)
    assert (error.blame, error.retry) == (Blame.PEER, Retry.OTHER_PEER)
    assert str(error) == "x"


def test_decode_error_says_where_and_what():
    error = DecodeError(7, "a length was expected")
    assert (error.code, error.offset, error.reason) == ("decode_failed", 7, "a length was expected")
    assert str(error) == "byte 7: a length was expected"


def test_failure_carries_an_error_as_a_value():
    error = Dms3Error("limit_reached", "Too many.", hint="Wait.", retry=Retry.OTHER_PEER)
    failure = Failure.of(error)
    assert failure == Failure("limit_reached", "Too many. Wait.", Retry.OTHER_PEER)
    again = failure.error()
    assert (again.code, again.message, again.retry) == (failure.code, failure.message, error.retry)


def test_a_code_of_a_newer_peer_is_a_refusal():
    error = Failure("invented_later", "Something new.", Retry.LATER).error()
    assert (error.code, error.retry) == ("peer_refused", Retry.LATER)
