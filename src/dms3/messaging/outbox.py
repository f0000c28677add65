"""The outbox: what this person says, durable before anybody hears of it, one line per receiver.

Source: docs/architecture.md, "Messages". A row per message remembers which services have it; what
it says lies with the port "messages". Timestamps of mine strictly rise, so that order is known
everywhere. Who carries a message is `messaging/sending.py`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

from dms3.core.codec import decode, encode
from dms3.core.desk import Desk
from dms3.core.errors import Dms3Error, Failure
from dms3.core.limits import MAIL_AGAIN_US_MIN, MAIL_OUTBOX_MAX, MAIL_PROBLEM_CHARS_MAX
from dms3.core.machine import View, scan
from dms3.dm3.message import Message
from dms3.messaging.operations import Mark, State

TABLE, CLOCK = "outbox", "clock"
_LAST = b"last"
_NUMBER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way. `to`: the name it is signed for; `person`: id, may have been joined.

    `text`: what it says, for receipts only, which are kept nowhere else. `had`, `refused`: services
    that have it, and that will never take it; `attempts`: rounds so far; `state`: one of State,
    with the `problem` that people are told. `over`: nothing is left to do but to mark it so.
    """

    v: int
    hash: str
    person: str
    to: str
    sent_ms: int
    type: str
    text: str = field(repr=False)
    had: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    attempts: int = 0
    state: str = State.QUEUED.value
    problem: str = ""
    over: bool = False


@dataclass(slots=True, eq=False)
class Entry:
    """A letter in memory: `number` is its place, `message` what it says once it was read."""

    number: int
    letter: Letter
    message: Message | None = None
    busy: bool = False
    kept: bool = False  # what it says is durable
    fresh: bool = False  # who the receiver is has to be looked up again
    marking: int = 0  # marks on their way to the tables

    @property
    def is_receipt(self) -> bool:
        """Whether it is shown nowhere."""
        return bool(self.letter.text)


class Outbox:
    """All letters, in lines by receiver: the first of a line goes, the others wait for it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._entries: dict[int, Entry] = {}
        self._lines: dict[str, deque[int]] = {}  # name -> numbers not sent yet, oldest first
        self._next = 1
        self._last_ms = 0

    def load(self, view: View) -> None:
        """Read the tables."""
        data = view.get(CLOCK, _LAST)
        self._last_ms = int.from_bytes(data, "big") if data else 0
        for key, data in scan(view, TABLE):
            number = int.from_bytes(key, "big")
            self._add(Entry(number, decode(Letter, data), kept=True))

    def __len__(self) -> int:
        return len(self._entries)

    def all(self) -> list[Entry]:
        """Every letter, oldest first."""
        return [self._entries[number] for number in sorted(self._entries)]

    def get(self, number: int) -> Entry | None:
        """The letter with this number, if it is on its way still."""
        return self._entries.get(number)

    def check_room(self) -> None:
        """Return when a further message fits; else raise `limit_reached`."""
        if len(self._entries) >= MAIL_OUTBOX_MAX:
            raise Dms3Error(
                "limit_reached",
                f"{len(self._entries)} messages wait to be taken by a delivery service.",
                hint="See why: dms3 message conversations.",
            )

    def next_ms(self) -> int:
        """The timestamp of the next message: now, but later than that of the last one."""
        self._last_ms = max(self._desk.now_ms, self._last_ms + 1)
        self._desk.persist(CLOCK, _LAST, self._last_ms.to_bytes(_NUMBER_BYTES, "big"))
        return self._last_ms

    def add(self, letter: Letter, message: Message) -> Entry:
        """A new letter, written down."""
        entry = Entry(self._next, letter, message)
        self._add(entry)
        self._write(entry)
        return entry

    def change(self, entry: Entry, letter: Letter) -> None:
        """Write down how far it is."""
        if letter != entry.letter:
            entry.letter = letter
            self._write(entry)

    def told(self, entry: Entry, state: State, problem: str, retry_us: int) -> None:
        """Mark the message for people, and say so; a receipt is shown to nobody.

        What services said is cut: many of them say more than a row holds.
        """
        problem = problem[:MAIL_PROBLEM_CHARS_MAX]
        changed = entry.letter.state != state.value
        self.change(entry, replace(entry.letter, state=state.value, problem=problem))
        if entry.is_receipt:
            return
        letter = entry.letter
        self._mark(entry, Mark(letter.hash, state, problem, retry_us))
        if changed or problem:
            self._desk.notify(
                "message.state", hash=letter.hash, person=letter.person, state=state.value,
                problem=problem, retry_us=retry_us,
            )  # fmt: skip

    def mark_again(self, entry: Entry) -> None:
        """After a restart: the last mark may not have reached the tables."""
        letter = entry.letter
        if not entry.is_receipt:
            self._mark(entry, Mark(letter.hash, State(letter.state), letter.problem))

    def _mark(self, entry: Entry, mark: Mark) -> None:
        def answered(body: Any) -> None:
            entry.marking -= 1
            if isinstance(body, Failure):
                self._desk.after(f"mark:{entry.number}", MAIL_AGAIN_US_MIN, again)
            elif entry.letter.over and not entry.marking:
                self._forget(entry)

        def again() -> None:
            if entry.letter.state == mark.state.value:
                self._mark(entry, mark)

        entry.marking += 1
        self._desk.call("messages.mark", mark, answered)

    def sent(self, entry: Entry) -> None:
        """The next in its line may go; this one may still be offered to further services."""
        line = self._lines.get(entry.letter.to)
        if line is not None and entry.number in line:
            line.remove(entry.number)
            if not line:
                del self._lines[entry.letter.to]

    def done(self, entry: Entry) -> None:
        """Nothing is left to do for it; it is forgotten when the tables know."""
        self.sent(entry)
        if entry.marking:
            self.change(entry, replace(entry.letter, over=True))
        else:
            self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        if self._entries.pop(entry.number, None) is not None:
            self._desk.delete(TABLE, _key(entry.number))

    def heads(self) -> list[Entry]:
        """The first of each line, in order of their numbers."""
        return [self._entries[line[0]] for line in sorted(self._lines.values(), key=lambda a: a[0])]

    def lagging(self) -> list[Entry]:
        """Letters that a service has and others do not, oldest first."""
        return [entry for entry in self.all() if entry.letter.had and not entry.letter.over]

    def _add(self, entry: Entry) -> None:
        self._entries[entry.number] = entry
        self._next = max(self._next, entry.number + 1)
        if not entry.letter.had and not entry.letter.over:
            self._lines.setdefault(entry.letter.to, deque()).append(entry.number)

    def _write(self, entry: Entry) -> None:
        self._desk.persist(TABLE, _key(entry.number), encode(entry.letter))


def _key(number: int) -> bytes:
    return number.to_bytes(_NUMBER_BYTES, "big")
