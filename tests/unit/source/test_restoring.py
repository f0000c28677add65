"""The same person on several homes, copies, old backups, an empty home: never two actions at one
place, and everything comes back.
"""

import pytest

from dms3.chain.action import decode_signed
from dms3.chain.agent import check_revocation, decode_revocation
from dms3.chain.operations import (
    ChainHead,
    Change,
    Close,
    Committed,
    Query,
    RevokeAgent,
)
from dms3.core.limits import CHAIN_ASK_US_MAX, CHAIN_ASK_US_MIN, PUBLISH_GATHER_US
from dms3.crypto.keys import KeyTree
from dms3.crypto.words import words_of_entropy
from unit.source.chain_kit import DNA, OTHER, TREE, Device, Overlay, check_chain

MINUTE = 60_000_000


def begun(overlay, device=b"d" * 16, place=b"here") -> Device:
    made = Device(overlay, device, place=place)
    assert isinstance(made.begin(), ChainHead)
    return made


def copy_of(device, place=b"elsewhere", rows=None, number=None) -> Device:
    """A home with the rows of another (of a day ago, say), with its device id or a new one."""
    made = Device(device.overlay, number or device.device, place=place)
    made.rows.rows = dict(rows if rows is not None else device.rows.rows)
    made.records = dict(device.records)
    made.boots = 100  # its entropy is its own
    made.start()
    return made


def one_each(overlay) -> bool:
    return all(len(hashes) == 1 for hashes in overlay.seen.values())


def actions_of(device, number) -> list:
    """The chain of device `number` as it lies at `device`."""
    rows = device.rows.of("action")
    return [decode_signed(rows[key]) for key in sorted(rows) if key[32:48] == number]


def standing(device, dna=DNA):
    return device.call("head", dna.id).standing


# Two homes, one person


def test_the_same_words_on_two_homes_are_two_chains_that_see_each_other():
    overlay = Overlay(3)
    one = begun(overlay)
    one.commit(Change("create", "secret", {"text": "mine alone"}))
    two = begun(overlay, b"e" * 16)
    two.note("from the second")
    heads = two.call("restore", DNA.id)
    assert [(head.device, head.standing) for head in heads] == [
        (b"e" * 16, "writable"),
        (b"d" * 16, "foreign"),
    ]
    assert heads[1].seq == 3
    found = two.call("query", Query(DNA.id, kind="secret", device=b"d" * 16))
    assert b"mine alone" in found[0].entry
    assert two.call("query", Query(DNA.id, kind="secret")) == ()
    one.note("more")
    assert two.call("restore", DNA.id)[1].seq == 4
    assert one.call("restore", DNA.id)[1].seq == 3
    assert one_each(overlay)
    check_chain(actions_of(two, b"d" * 16))


def test_other_chains_are_found_by_themselves_when_somebody_can_be_asked():
    overlay = Overlay(2)
    one = begun(overlay)
    one.note()
    for holder in overlay.holders:
        holder.down = True
    two = begun(overlay, b"e" * 16)
    assert len(two.call("chains", None)) == 1
    for holder in overlay.holders:
        holder.down = False
    two.wait(CHAIN_ASK_US_MIN)
    assert [head.standing for head in two.call("chains", None)] == ["writable", "foreign"]


def test_chains_of_somebody_else_are_not_taken_for_mine():
    overlay = Overlay(2)
    words = words_of_entropy(bytes(16))
    other = Device(overlay, b"o" * 16, KeyTree.of_words(words))
    other.begin()
    mine = begun(overlay)
    assert len(mine.call("restore", DNA.id)) == 1


# A home that was copied, or put back


def test_a_copy_of_a_day_ago_takes_up_what_is_missing_before_it_writes():
    overlay = Overlay(3)
    home = begun(overlay)
    home.note("before")
    day_old = dict(home.rows.rows)
    home.note("after " + "x" * 70_000)
    home.commit(Change("create", "secret", {"text": "after, too"}))
    home.wait(PUBLISH_GATHER_US)
    for holder in overlay.holders:
        holder.down = True
    copy = copy_of(home, rows=day_old)
    assert isinstance(copy.begin(), ChainHead)
    assert standing(copy) == "asking"
    refused = copy.note("too early")
    assert refused.code == "chain_restoring"
    for holder in overlay.holders[1:]:
        holder.down = False
    copy.wait(CHAIN_ASK_US_MIN)
    assert standing(copy) == "writable"
    assert copy.chain == home.chain
    found = copy.call("query", Query(DNA.id, after=3))
    assert all(each.entry is not None for each in found)
    assert b"after, too" in found[1].entry
    assert isinstance(copy.note("goes on"), Committed)
    check_chain(copy.chain)
    assert one_each(overlay)
    assert ("chain.restored") in [topic for topic, _ in copy.notices]


def test_without_a_quorum_a_copy_never_writes():
    overlay = Overlay(3)
    home = begun(overlay)
    day_old = dict(home.rows.rows)
    home.note()
    for holder in overlay.holders[:2]:
        holder.down = True
    copy = copy_of(home, rows=day_old)
    copy.begin()
    copy.wait(10 * CHAIN_ASK_US_MAX)
    assert standing(copy) == "asking"
    assert len(copy.chain) == 4  # what one holder knew came, and that is not enough
    assert copy.note().code == "chain_restoring"
    copy.restart()  # nor after a restart at its new place
    copy.begin()
    assert standing(copy) == "asking"
    overlay.holders[0].down = False
    copy.wait(2 * CHAIN_ASK_US_MAX)
    assert standing(copy) == "writable"
    assert one_each(overlay)


def test_a_home_at_its_place_writes_though_nobody_is_there():
    overlay = Overlay(0)
    home = begun(overlay)
    home.restart()
    home.begin()
    assert standing(home) == "writable"
    assert isinstance(home.note(), Committed)


def test_a_home_put_back_at_its_place_notices_when_holders_answer():
    """A snapshot of a whole machine shows nothing at the start; the holders do."""
    overlay = Overlay(3)
    home = begun(overlay)
    day_old = dict(home.rows.rows)
    home.note("lost here")
    back = copy_of(home, home.place, day_old)
    back.begin()
    assert standing(back) == "writable"
    assert back.chain == home.chain  # taken up before anything was written
    assert isinstance(back.note(), Committed)
    assert one_each(overlay)


def test_two_homes_that_wrote_one_place_stop_and_say_so():
    overlay = Overlay(3)
    home = begun(overlay)
    day_old = dict(home.rows.rows)
    home.note("at home")
    for holder in overlay.holders:
        holder.down = True
    back = copy_of(home, home.place, day_old)  # undetectable, and nobody to ask
    back.begin()
    assert isinstance(back.note("another"), Committed)
    for holder in overlay.holders:
        holder.down = False
    back.wait(CHAIN_ASK_US_MAX)
    refused = back.note("more")
    assert refused.code == "chain_closed"
    assert "another home has written action 3" in refused.message


def test_what_a_copy_begins_is_begun_by_a_key_of_its_own():
    overlay = Overlay(2)
    home = begun(overlay)
    copy = copy_of(home)
    home.begin(OTHER)
    copy.begin(OTHER)
    agents = {each.call("head", OTHER.id).agent for each in (home, copy)}
    assert len(agents) == 2
    assert one_each(overlay)


def test_a_home_that_moved_once_remembers_it():
    overlay = Overlay(2)
    home = begun(overlay)
    copy = copy_of(home)
    copy.restart()
    copy.begin(OTHER)
    assert copy.call("head", OTHER.id).agent != home.begin(OTHER).agent


def test_a_home_that_does_not_know_its_place_is_no_copy():
    home = begun(Overlay(0))
    unknown = copy_of(home, b"")
    unknown.begin()
    assert standing(unknown) == "writable"


# A backup in a new home, and an empty one


def test_a_restored_backup_is_another_device_and_publishes_what_the_old_one_could_not():
    overlay = Overlay(2)
    home = begun(overlay)
    for holder in overlay.holders:
        holder.down = True
    home.note("never left")
    backup = dict(home.rows.rows)
    for holder in overlay.holders:
        holder.down = False
    restored = copy_of(home, rows=backup, number=b"n" * 16)
    restored.begin()
    restored.wait(MINUTE)
    told = {head.device: head for head in restored.call("chains", None)}
    assert told[b"d" * 16].standing == "foreign"
    assert told[b"d" * 16].seq == 3
    assert told[b"n" * 16].standing == "writable"
    assert isinstance(restored.note("new"), Committed)
    home.begin()
    home.note("the old one lives")  # it was not lost after all
    home.wait(MINUTE)
    assert one_each(overlay)
    arrived = {op.signed.hash for op in overlay.holders[0].ops.values()}
    assert {each.hash for each in home.chain} <= arrived
    assert restored.call("restore", DNA.id)[1].seq == 4


def test_an_empty_home_with_the_words_brings_everything():
    overlay = Overlay(3)
    home = begun(overlay)
    home.commit(Change("create", "secret", {"text": "s" * 100_000}))
    home.call("rotate", DNA.id)
    home.note("by the next key")
    home.wait(PUBLISH_GATHER_US)
    written = home.chain
    empty = begun(overlay, b"f" * 16)
    empty.call("restore", DNA.id)
    assert actions_of(empty, b"d" * 16) == written
    found = empty.call("query", Query(DNA.id, device=b"d" * 16, limit=100))
    assert [each.signed.hash for each in found] == [each.hash for each in written]
    assert all((each.entry is None) == (each.signed.action.entry is None) for each in found)


def test_an_entry_that_nobody_gives_does_not_hold_up_the_chain():
    overlay = Overlay(2)
    home = begun(overlay)
    home.note("gone")
    for holder in overlay.holders:
        holder.ops = {name: op for name, op in holder.ops.items() if op.kind != "record"}
    empty = begun(overlay, b"f" * 16)
    assert empty.call("restore", DNA.id)[1].seq == 3
    (found,) = empty.call("query", Query(DNA.id, device=b"d" * 16, kind="note"))
    assert found.entry is None


# Keys and apps that follow


def test_the_next_key_goes_on_with_the_chain():
    overlay = Overlay(2)
    home = begun(overlay)
    before = home.call("head", DNA.id)
    after = home.call("rotate", DNA.id)
    assert after.agent != before.agent
    assert after.seq == before.seq + 1
    assert isinstance(home.note(), Committed)
    assert home.chain[-1].action.author == after.agent
    check_chain(home.chain)
    home.restart()
    assert home.begin().agent == after.agent
    copy = copy_of(home, rows=home.rows.rows)
    copy.begin()
    copy.wait(MINUTE)
    assert standing(copy) == "writable"
    assert isinstance(copy.note(), Committed)
    assert one_each(overlay)


def test_a_copy_from_before_a_rotation_finds_the_next_key():
    overlay = Overlay(2)
    home = begun(overlay)
    day_old = dict(home.rows.rows)
    head = home.call("rotate", DNA.id)
    home.note()
    copy = copy_of(home, rows=day_old)
    copy.begin()
    copy.wait(MINUTE)
    assert copy.call("head", DNA.id).agent == head.agent
    assert copy.chain == home.chain
    assert isinstance(copy.note(), Committed)
    check_chain(copy.chain)


def test_the_key_of_a_lost_device_is_taken_back_from_another_one():
    overlay = Overlay(2)
    lost = begun(overlay)
    lost.note()
    mine = begun(overlay, b"e" * 16)
    mine.call("restore", DNA.id)
    done = mine.call("revoke_agent", RevokeAgent(DNA.id, b"d" * 16))
    assert isinstance(done, Committed)
    revoked = decode_revocation(mine.chain[-1].action.revocation)
    assert check_revocation(revoked).agent == lost.call("head", DNA.id).agent
    assert revoked.last_seq == 3
    near = {op.basis for op in overlay.holders[0].ops.values() if op.signed.hash in done.actions}
    assert {lost.call("head", DNA.id).agent, TREE.root_id()} <= near
    assert standing(mine) == "writable"
    assert mine.call("revoke_agent", RevokeAgent(DNA.id, b"x" * 16)).code == "not_found"


def test_a_device_that_takes_back_its_own_key_ends_its_chain():
    home = begun(Overlay(1))
    assert isinstance(home.call("revoke_agent", RevokeAgent(DNA.id, b"")), Committed)
    assert standing(home) == "closed"
    assert home.note().code == "chain_closed"


@pytest.mark.parametrize("first", [True, False])
def test_a_closed_chain_goes_on_in_the_other_app_with_its_state(first):
    home = begun(Overlay(1))
    if first:
        home.begin(OTHER)
    done = home.call("close", Close(DNA.id, OTHER.id, {"count": 3}))
    assert isinstance(done, Committed)
    assert standing(home) == "closed"
    assert home.note().code == "chain_closed"
    if not first:
        home.begin(OTHER)
    opened = home.call("query", Query(OTHER.id, of="open"))
    assert [each.signed.action.target for each in opened] == list(done.actions)
    assert opened[0].signed.action.entry == done.entries[0]
    assert b"count" in opened[0].entry
    home.restart()
    home.begin(OTHER)
    assert len(home.call("query", Query(OTHER.id, of="open"))) == 1
    assert standing(home) == "closed"


def test_a_chain_goes_on_elsewhere_only():
    home = begun(Overlay(0))
    assert home.call("close", Close(DNA.id, DNA.id)).code == "argument_invalid"
    assert home.call("close", Close(DNA.id, b"short")).code == "argument_invalid"
