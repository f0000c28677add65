import pytest

from dms3.core import limits
from dms3.core.errors import DecodeError, Dms3Error
from dms3.libp2p.multistream import HEADER, Dialer, Listener, encode_message, read_message

GREETING = encode_message(HEADER)


def test_messages_are_those_of_the_specification():
    assert encode_message("/noise") == b"\x07/noise\n"
    assert GREETING == b"\x13/multistream/1.0.0\n"


def test_lazy_agreement_carries_data_both_ways():
    dialer, listener = Dialer(["/x"]), Listener(lambda name: name == "/x")
    assert dialer.lazy
    reply, data = listener.receive(dialer.first_flight + b"request")
    assert listener.protocol == "/x"
    assert data == b"request"
    assert dialer.receive(reply + b"answer") == (b"", b"answer")
    assert dialer.protocol == "/x"


def test_proposals_are_tried_in_order():
    dialer, listener = Dialer(["/new", "/old"]), Listener(lambda name: name == "/old")
    reply, _ = listener.receive(dialer.first_flight)
    second, _ = dialer.receive(reply)
    reply, _ = listener.receive(second)
    assert dialer.receive(reply) == (b"", b"")
    assert dialer.protocol == listener.protocol == "/old"


@pytest.mark.parametrize("cut", range(1, 27))
def test_any_cut_gives_the_same(cut):
    listener = Listener(lambda name: name == "/x")
    data = Dialer(["/x"]).first_flight + b"request"
    replies = rest = b""
    for part in (data[:cut], data[cut:]):
        if listener.protocol:
            rest += part
            continue
        reply, more = listener.receive(part)
        replies, rest = replies + reply, rest + more
    assert (replies, rest) == (GREETING + encode_message("/x"), b"request")


def test_ls_and_unknown_names_are_refused():
    listener = Listener(lambda _name: True)
    reply, _ = listener.receive(GREETING + encode_message("ls"))
    assert reply == GREETING + encode_message("na")
    long = "/" + "x" * limits.PROTOCOL_ID_BYTES_MAX
    assert listener.receive(encode_message(long))[0] == encode_message("na")
    assert listener.receive(encode_message(long[:-1]))[0] == encode_message(long[:-1])


def test_everything_refused_is_named():
    dialer = Dialer(["/x"])
    with pytest.raises(Dms3Error, match="does not speak /x") as error:
        dialer.receive(GREETING + encode_message("na"))
    assert error.value.code == "protocol_unsupported"


def test_an_answer_nobody_asked_for_is_refused():
    for answer in ("/y", HEADER):
        with pytest.raises(DecodeError):
            Dialer(["/x"]).receive(GREETING + encode_message(answer))


@pytest.mark.parametrize("role", [Dialer(["/x"]), Listener(lambda _name: True)])
def test_another_greeting_is_refused(role):
    with pytest.raises(DecodeError, match="does not speak multistream"):
        role.receive(encode_message("/multistream/2.0.0"))


def test_the_number_of_proposals_is_bounded():
    listener = Listener(lambda _name: False)
    listener.receive(GREETING + encode_message("/x") * (limits.MULTISTREAM_PROPOSALS_MAX - 1))
    with pytest.raises(Dms3Error, match="too many"):
        listener.receive(encode_message("/x"))


def test_data_behind_a_refused_proposal_does_not_hide_the_refusal():
    listener = Listener(lambda _name: False)
    reply, rest = listener.receive(GREETING + encode_message("/x") + b"\x00 no message")
    assert (reply, rest) == (GREETING + encode_message("na"), b"")
    assert listener.receive(b"more") == (b"", b"")


def test_message_bounds_on_both_sides():
    text = "/" + "x" * (limits.MULTISTREAM_MESSAGE_BYTES_MAX - 2)
    assert read_message(encode_message(text)) == (text, limits.MULTISTREAM_MESSAGE_BYTES_MAX + 2)
    for broken in (b"\x81\x08", b"\x00", b"\x02ab", b"\x02\xff\n", b"\x80\x00", b"\xff" * 10):
        with pytest.raises(DecodeError):
            read_message(broken)
    assert read_message(b"\x05/x") is None
    assert read_message(b"") is None
