from dms3.core import limits
from dms3.libp2p.dialing import Backoff
from dms3.libp2p.multiaddr import Multiaddr

ONE, TWO, THREE = (Multiaddr.tcp("192.0.2.1", port) for port in (1, 2, 3))


def test_failures_double_the_wait_up_to_the_bound_and_success_forgets():
    backoff, delays = Backoff(), []
    for _ in range(12):
        backoff.failed(ONE, 0)
        delays.append(backoff.due_us(ONE))
    assert delays[:3] == [limits.BACKOFF_FIRST_US * n for n in (1, 2, 4)]
    assert delays[-1] == limits.BACKOFF_US_MAX
    backoff.worked(ONE)
    assert backoff.due_us(ONE) == 0


def test_failed_addresses_wait_while_there_are_others():
    backoff = Backoff()
    backoff.failed(ONE, 0)
    assert backoff.choose([ONE, TWO, TWO, THREE], 0) == [TWO, THREE]
    assert backoff.choose([ONE, TWO], limits.BACKOFF_FIRST_US) == [ONE, TWO]
    assert backoff.choose([ONE, TWO], limits.BACKOFF_FIRST_US - 1) == [TWO]


def test_when_all_failed_the_one_due_first_is_tried():
    backoff = Backoff()
    backoff.failed(ONE, 5)
    backoff.failed(TWO, 0)
    assert backoff.choose([ONE, TWO], 0) == [TWO]
    assert backoff.choose([], 0) == []


def test_what_is_remembered_and_tried_is_bounded():
    backoff = Backoff()
    many = [Multiaddr.tcp("192.0.2.1", port) for port in range(limits.BACKOFF_ADDRESSES_MAX + 1)]
    for address in many:
        backoff.failed(address, 0)
    assert backoff.due_us(many[0]) == 0
    assert backoff.due_us(many[1]) > 0
    assert len(Backoff().choose(many, 0)) == limits.DIAL_ADDRESSES_MAX
