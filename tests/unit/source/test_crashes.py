"""Whenever the process ends, a chain has no gap and no fork, and what left was durable."""

import pytest

from dms3.chain.operations import ChainHead, Change, Committed
from unit.source.chain_kit import DNA, Device, Overlay, check_chain

_BUNDLE = (
    Change("create", "note", {"text": "x" * 70_000}),
    Change("create", "secret", {"text": "mine"}),
    Change("link", "all", base=b"b" * 32, to=b"t" * 32),
)


def _life(device) -> None:
    """What happens between two crashes: begin, three bundles, time passes."""
    device.begin()
    for number in range(2):
        device.commit(Change("create", "note", {"text": f"{device.boots} {number}"}))
    device.commit(*_BUNDLE)
    device.wait(10_000_000)


def _steps_of_a_life() -> int:
    device = Device(Overlay(2))
    _life(device)
    return device.steps


@pytest.mark.parametrize("part", range(4))
def test_a_crash_at_every_point_leaves_one_chain(part):
    """Every point between two effects, before and after every transaction."""
    for at in range(1 + part, _steps_of_a_life() + 1, 4):
        overlay = Overlay(2)
        device = Device(overlay)
        device.crash_at = at
        _life(device)
        assert device.crashed
        held = device.chain
        check_chain(held)
        device.restart()
        assert isinstance(device.begin(), ChainHead)
        assert device.chain[: len(held)] == held
        assert isinstance(device.note("after"), Committed)
        device.wait(400_000_000)
        check_chain(device.chain)
        hashes = {each.hash for each in device.chain}
        assert all(len(seen) == 1 for seen in overlay.seen.values())
        assert set().union(*overlay.seen.values()) == hashes  # all of it arrived, nothing else
        assert not device.rows.of("pending")


def test_what_was_answered_is_still_there_after_a_crash():
    device = Device(Overlay(1))
    device.begin()
    done = device.note()
    device.crash_at = device.steps  # the very next thing
    device.note("lost")
    device.restart()
    device.begin()
    assert device.chain[3].hash == done.actions[0]
    assert len(device.chain) == 4


def test_a_chain_goes_on_after_many_crashes():
    overlay = Overlay(2)
    device = Device(overlay)
    for number in range(40):
        device.crash_at = device.steps + 3 + 7 * number % 31
        _life(device)
        device.restart()
    device.begin()
    device.wait(400_000_000)
    check_chain(device.chain)
    assert all(len(seen) == 1 for seen in overlay.seen.values())
    assert device.call("head", DNA.id).seq == len(device.chain) - 1
