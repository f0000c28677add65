"""Whatever a person does with homes, copies and backups: never two actions at one place outside.

Hypothesis drives devices of one person on one overlay of three holders, of which at most one is
away at a time, so that any two quorums share a holder. A home that is copied, or put back, is dead
from then on: of two that live, no node can tell which is the right one (docs/chains.md, "Restore").
"""

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dms3.chain.action import decode_signed
from dms3.chain.operations import Change
from dms3.core.limits import CHAIN_ASK_US_MAX
from unit.source.chain_kit import DNA, Device, Overlay, check_chain


class Homes(RuleBasedStateMachine):
    """One or two homes that live, and days-old copies of their rows."""

    @initialize()
    def begin(self):
        self.overlay = Overlay(3)
        self.homes = [Device(self.overlay, place=b"0")]
        self.old = []
        self.places = 0
        self.homes[0].begin()

    def _home(self, number):
        return self.homes[number % len(self.homes)]

    @rule(number=st.integers(0, 3), count=st.integers(1, 3), private=st.booleans())
    def write(self, number, count, private):
        kind = "secret" if private else "note"
        changes = [Change("create", kind, {"n": each}) for each in range(count)]
        self._home(number).commit(*changes)

    @rule(number=st.integers(0, 3), steps=st.integers(1, 25))
    def crash(self, number, steps):
        home = self._home(number)
        home.crash_at = home.steps + steps
        home.note("on the way")
        home.wait(1_000_000)
        home.restart()
        home.begin()

    @rule(number=st.integers(0, 3))
    def rotate(self, number):
        self._home(number).call("rotate", DNA.id)

    @rule(number=st.integers(0, 3))
    def keep_a_copy(self, number):
        home = self._home(number)
        self.old.append((home.device, dict(home.rows.rows), dict(home.records)))

    @precondition(lambda self: self.old)
    @rule(which=st.integers(0, 9), moved=st.booleans())
    def put_back(self, which, moved):
        """The copy of a home takes its place: the home it is of is gone, at its place or not."""
        device, rows, records = self.old[which % len(self.old)]
        gone = [home for home in self.homes if home.device == device]
        self.homes = [home for home in self.homes if home.device != device]
        self.places += 1
        place = b"%d" % self.places if moved or not gone else gone[0].place
        self._start(device, place, rows, records)

    @precondition(lambda self: self.old)
    @rule(which=st.integers(0, 9), number=st.integers(1, 3))
    def restore_a_backup(self, which, number):
        """Into a new home: another device, whatever became of the one it was made of."""
        _, rows, records = self.old[which % len(self.old)]
        device = bytes([number]) * 16
        if len(self.homes) < 3 and all(home.device != device for home in self.homes):
            self.places += 1
            fresh = {key: rows[key] for key in rows if key[0] != "home"}
            if not any(key.endswith(device) for table, key in rows if table == "chain"):
                self._start(device, b"%d" % self.places, fresh, records)

    def _start(self, device, place, rows, records):
        made = Device(self.overlay, device, place=place)
        made.rows.rows, made.records = dict(rows), dict(records)
        made.boots = 1_000 * (1 + self.places)
        made.start()
        made.begin()
        made.wait(1_000_000)
        self.homes.append(made)

    @rule(which=st.integers(0, 3))
    def one_holder_is_away(self, which):
        for number, holder in enumerate(self.overlay.holders):
            holder.down = number == which

    @rule()
    def time_passes(self):
        for home in self.homes:
            home.wait(CHAIN_ASK_US_MAX)

    @invariant()
    def one_action_at_a_place(self):
        if hasattr(self, "overlay"):
            assert all(len(hashes) == 1 for hashes in self.overlay.seen.values())

    def teardown(self):
        """In the end every home has a chain that it can write, and everything of it is held."""
        for holder in self.overlay.holders:
            holder.down = False
        self.time_passes()
        self.time_passes()
        for home in self.homes:
            rows = home.rows.of("action")
            own = DNA.id + home.device
            chain = [decode_signed(rows[key]) for key in sorted(rows) if key.startswith(own)]
            check_chain(chain)
            assert home.call("head", DNA.id).standing == "writable"
            holders = self.overlay.holders
            held = {op.signed.hash for holder in holders for op in holder.ops.values()}
            assert {each.hash for each in chain} <= held


Homes.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # a life is long: shrinking takes minutes
)
TestHomes = Homes.TestCase
