from dataclasses import replace

from dms3.core.cid import RAW, Cid
from dms3.core.errors import Failure
from dms3.core.ids import OverlayId
from dms3.core.limits import HELD_PAGE_MAX, TAKEN_OPEN_MAX
from dms3.core.machine import Call, Persist
from dms3.core.overlay import PUBLIC, HoldBlocks
from dms3.dht.blocks import block_type
from dms3.dht.holding import Holding, mark_of
from dms3.dht.messages import Code, Offered, PutValue
from dms3.dht.taking import Taking
from unit.dht.holding_kit import LATER, NOTE, NOW, OWN, Rows


class Kit:
    def __init__(self, *, near: bool = True, rows: dict | None = None) -> None:
        self.view = Rows({} if rows is None else rows)
        self.holding = Holding(OWN, (NOTE, block_type(10_000)))
        self.holding.load(self.view)
        self.taking = Taking(self.holding, lambda *_: near)
        self.answers: list = []
        self.calls: list[Call] = []

    def apply(self, effects):
        self.view.apply(effects)
        self.calls += [effect for effect in effects if isinstance(effect, Call)]
        return effects

    def put(self, *puts: PutValue, overlay: OverlayId = PUBLIC):
        def done(codes, _):
            self.answers.append(codes)
            return []

        return self.apply(self.taking.puts(overlay, puts, NOW, done))

    def library(self, body: object):
        call = self.calls.pop(0)
        return self.apply(self.taking.answered(call.token, body, NOW))


def block(data: bytes) -> PutValue:
    return PutValue("block", Cid.of(RAW, data).binary, data, LATER)


def note(value: bytes) -> PutValue:
    return PutValue("note", b"k", value, LATER)


def test_small_values_are_answered_in_the_transaction_that_writes_them():
    kit = Kit()
    effects = kit.put(note(b"k/a"), note(b"k/b"))
    assert kit.answers == [(Code.WANTED, Code.WANTED)]
    assert sum(isinstance(effect, Persist) for effect in effects) == 4  # rows and counts
    assert kit.calls == []


def test_a_block_is_acknowledged_only_when_the_library_has_it():
    kit = Kit()
    kit.put(block(b"one"), note(b"x"), block(b"two"))
    assert kit.answers == []
    assert kit.holding.rows() == 0
    assert kit.calls[0].arguments == HoldBlocks(
        tuple((Cid.of(RAW, data), data) for data in (b"one", b"two"))
    )
    kit.library(True)
    assert kit.answers == [(Code.WANTED, Code.INVALID, Code.WANTED)]
    assert kit.holding.rows() == 2


def test_a_library_that_cannot_hold_is_no_fault_of_the_peer_and_holds_nothing():
    kit = Kit()
    kit.put(block(b"one"))
    kit.library(Failure("disk_full", "The disk is full."))
    assert kit.answers == [(Code.BUSY,)]
    assert kit.holding.rows() == 0


def test_a_value_given_twice_in_one_question_is_written_once():
    kit = Kit()
    kit.put(note(b"k/a/1"), note(b"k/a/2"), block(b"one"), block(b"one"))
    kit.library(True)
    assert kit.answers == [(Code.WANTED, Code.BUSY, Code.WANTED, Code.BUSY)]
    assert kit.holding.rows() == 2


def test_what_lies_elsewhere_is_neither_wanted_nor_taken():
    kit = Kit(near=False)
    kit.put(note(b"k/a"))
    assert kit.answers == [(Code.FAR,)]
    offer = Offered("note", b"k", mark_of(b"k/a"), LATER)
    assert kit.taking.offers(PUBLIC, [offer], NOW) == ((Code.FAR,), [])


def test_puts_that_wait_for_the_library_are_bounded():
    kit = Kit()
    for n in range(TAKEN_OPEN_MAX):
        kit.put(block(b"%d" % n))
    kit.put(block(b"one more"))
    assert kit.answers == [(Code.BUSY,)]
    kit.library(True)
    kit.put(block(b"one more"))
    assert len(kit.answers) == 2  # the first of the others


def test_expired_and_dropped_blocks_are_released():
    kit = Kit()
    put = block(b"one")
    kit.put(put)
    kit.library(True)
    count, effects = kit.taking.drop(PUBLIC, "block", put.key)
    assert count == 1
    kit.apply(effects)
    assert kit.calls[0].port == "library.release"
    assert kit.calls[0].arguments == (Cid(put.key),)
    assert kit.library(None) == []
    assert kit.holding.rows() == 0
    assert kit.taking.drop(PUBLIC, "block", put.key) == (0, [])
    assert kit.taking.drop(PUBLIC, "nothing", put.key) == (0, [])


def test_a_start_releases_blocks_whose_rows_were_never_written():
    kit = Kit()
    kept = block(b"kept")
    kit.put(kept)
    kit.library(True)
    kit.apply(kit.taking.on_start())
    orphan = Cid.of(RAW, b"orphan")
    kit.library((Cid(kept.key), orphan))
    assert [call.arguments for call in kit.calls] == [(orphan,)]


def test_a_block_that_two_overlays_have_is_released_by_the_last():
    kit = Kit()
    put, other = block(b"shared"), OverlayId(b"o" * 32)
    for overlay in (PUBLIC, other):
        kit.put(put, overlay=overlay)
        kit.library(True)
    for overlay, released in ((PUBLIC, []), (other, [(Cid(put.key),)])):
        count, effects = kit.taking.drop(overlay, "block", put.key)
        assert count == 1
        kit.apply(effects)
        assert [call.arguments for call in kit.calls] == released


def test_a_start_does_not_release_what_is_being_put():
    """The library has the block already when it is compared, its row comes right after."""
    kit = Kit()
    kit.apply(kit.taking.on_start())
    put = block(b"new")
    kit.put(put)
    kit.library((Cid(put.key),))
    assert [call.port for call in kit.calls] == ["library.hold"]
    kit.library(True)
    assert kit.answers == [(Code.WANTED,)]


def test_a_start_reads_page_after_page_of_held_blocks():
    kit = Kit()
    kit.apply(kit.taking.on_start())
    page = tuple(Cid.of(RAW, b"%d" % n) for n in range(HELD_PAGE_MAX))
    kit.library(page)
    release, again = kit.calls
    assert release.arguments == page
    assert (again.port, again.arguments) == ("library.held", page[-1])
    kit.calls = [again]
    kit.library(Failure("node_busy", "later"))  # the next start compares
    assert kit.calls == []


def test_an_offer_of_what_is_held_is_answered_whatever_its_distance():
    kit = Kit()
    kit.put(note(b"k/a"))
    far = Kit(near=False, rows=kit.view.rows)
    offer = Offered("note", b"k", mark_of(b"k/a"), LATER)
    assert far.taking.offers(PUBLIC, [offer], NOW)[0] == (Code.HELD,)
    missing = replace(offer, mark=bytes(16))
    assert far.taking.offers(PUBLIC, [missing], NOW)[0] == (Code.FAR,)
