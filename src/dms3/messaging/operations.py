"""What the node asks of machine "mailbox", and what that asks of its ports: types, no behaviour.

Source: docs/architecture.md, "Messages". Calls to the machine:

| call | arguments | answer |
|---|---|---|
| `mailbox.send` | SendMessage | Sent, when it is durable here (state queued) |
| `mailbox.fetch` | None | how many new messages came, after asking every own service once |
| `mailbox.opened` | the correspondent's name: its messages are on a screen | how many became read |
| `mailbox.arrived` | the name of an own service that pushed something | None |
| `mailbox.services` | None | tuple of CarrierState: who carries my messages, and how it is |
| `mailbox.carry` | the name of a delivery service to use from now on | CarrierState |
| `mailbox.uncarry` | the name of one to leave, after what waits there was fetched | None |
| `mailbox.decide` | Decide: about somebody, or that keys were compared | Correspondent |
| `mailbox.people` | None | tuple of Correspondent |
| `mailbox.settings` | MailSettings to change, or None | MailSettings |
| `mailbox.profile` | None | SignedProfile of this person as published now |
| `mailbox.met` | None: a card or a name arrived, look again for halted messages | None |
| `mailbox.rotate` | profile keys of at least this generation, None: the next | SignedProfile |
| `mailbox.repeat` | None: tell storage everything again | None, when that is certain to happen |
| `mailbox.brought` | the message number before those of an import, for storage | None, as above |
| `mailbox.introduce` | tuple of Item: people of an import | as `mailbox.merge`; shared, too |
| `mailbox.adopt` | AdoptSeed: use the keys that a wallet's signature made | SignedProfile |
| `mailbox.refused` | None | tuple of Refused: what was proven wrong, newest first |
| `mailbox.merge` | tuple of storage Items of other devices | None, when they are kept |

Port `messages` (tables of one node, `io/messages.py`; every write idempotent):
`messages.keep` tuple[Kept] -> tuple[bool] (new or not) · `messages.mark` Mark -> None ·
`messages.body` hash -> Kept | None · `messages.unsent` None -> tuple[hash] ·
`messages.everything` number -> tuple of (number, Kept) after it, at most MAIL_REPEAT_MESSAGES_MAX ·
`messages.unread` person -> tuple[hash], of others, shown on no screen yet · `messages.join` Join ->
None. A message that is kept already goes forward as by Mark and gets the earlier `order_ms`.

Port `courier` (HTTP to delivery services, `io/courier.py`; bounded, no secrets in logs):
`courier.submit` Submit -> None · `courier.login` Login -> token ·
`courier.incoming` Incoming -> tuple of envelopes as JSON text · `courier.acknowledge` Acknowledge
-> None · `courier.register` Register -> None · `courier.limits` url -> Limits ·
`courier.listen` Listen -> None (pushes arrive as `mailbox.arrived`)
Failures: `peer_unreachable`, `timed_out` (try later), `peer_refused` (message: the service's words;
try another), `unauthorized` (log in again), `peer_misbehaved` (what came is no answer).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from dms3.dm3.message import Attachment, MessageType
from dms3.dm3.profile import SignedProfile


class State(StrEnum):
    """Where a message of mine is; a message of others is RECEIVED or READ."""

    HALTED = "halted"  # the receiver has no profile yet: kept, sent when there is one
    QUEUED = "queued"  # no service has taken it yet
    SENT = "sent"  # a service of the receiver has it
    DELIVERED = "delivered"  # the receiver's READ_RECEIVED came
    READ = "read"  # the receiver's READ_OPENED came, or I opened it
    FAILED = "failed"  # refused for good; `problem` says by whom and why
    RECEIVED = "received"
    HELD = "held"  # of others: cannot be verified yet; `problem` says why and what is awaited


@dataclass(frozen=True, slots=True)
class SendMessage:
    """A message to the person called `to`. `reference`: hash of the message it is about."""

    to: str
    text: str | None
    type: MessageType = MessageType.NEW
    attachments: tuple[Attachment, ...] = ()
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """The message `hash` to `person` is durable here, in `state`."""

    hash: str
    person: str
    state: State


@dataclass(frozen=True, slots=True)
class Kept:
    """A message as it is kept: `text` is the canonical JSON of the signed message.

    `person`: the correspondent's id (Correspondent.id). `mine`: sent by this person, on any device.
    `order_ms`: earliest verified postmark, or the sender's own time when there is none (mine).
    `information`: what a service claimed where it disagrees with the signed message, "" otherwise.
    """

    hash: str
    person: str
    mine: bool
    sender: str
    sent_ms: int
    order_ms: int
    type: MessageType
    reference: str
    state: State
    text: str = field(repr=False)
    problem: str = ""
    retry_us: int = 0  # wall clock of the next try, 0: none
    information: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Set the state of message `hash`; a later state is never replaced by an earlier one."""

    hash: str
    state: State
    problem: str = ""
    retry_us: int = 0


@dataclass(frozen=True, slots=True)
class Join:
    """Two people turned out to be one: what was kept for `person` belongs to `into`."""

    person: str
    into: str


@dataclass(frozen=True, slots=True)
class Correspondent:
    """One person, with several names. `id` is stable: the name under which they were first met.

    `standing`: contact, request (unknown: shown apart, gets no receipts) or blocked. `verified`: a
    person compared the fingerprint. `changed`: the keys became others since (say so loudly).
    """

    id: str
    names: tuple[str, ...]
    address: str
    root: str
    standing: Literal["contact", "request", "blocked"]
    fingerprint: str
    verified: bool
    changed: bool
    vouched: str


@dataclass(frozen=True, slots=True)
class Decide:
    """What to do with the person called `name`."""

    name: str
    what: Literal["accept", "block", "unblock", "forget", "verified"]


@dataclass(frozen=True, slots=True)
class CarrierState:
    """A delivery service of this person: its name, URL, whether it answers, what was last said."""

    name: str
    url: str
    reachable: bool
    problem: str
    checked_us: int


@dataclass(frozen=True, slots=True)
class MailSettings:
    """`receipts`: tell senders what came and was read. `requests`: take messages of strangers."""

    receipts: bool = True
    requests: bool = True


@dataclass(frozen=True, slots=True)
class AdoptSeed:
    """The 32 bytes of messaging keys that a wallet's signature made."""

    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """An envelope that was proven wrong: when (wall), through which service, who it claimed."""

    at_us: int
    service: str
    sender: str
    reason: str


@dataclass(frozen=True, slots=True)
class Submit:
    """Give `envelope` (JSON text) to the service at `url`; `legacy`: its other form, for a 400."""

    url: str
    envelope: str = field(repr=False)
    legacy: str = field(repr=False, default="")


@dataclass(frozen=True, slots=True)
class Login:
    """A session for `name` at `url`: the challenge is signed with `seed` inside the adapter."""

    url: str
    name: str
    seed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Incoming:
    """What waits for `name` at `url`; at most `limit` envelopes."""

    url: str
    name: str
    token: str = field(repr=False)
    limit: int = 1_000


@dataclass(frozen=True, slots=True)
class Acknowledge:
    """These were made durable: the service deletes them. Pairs of (sender name, message hash)."""

    url: str
    name: str
    token: str = field(repr=False)
    messages: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Register:
    """Make `profile` of `name` known at the service, so that it accepts messages for it."""

    url: str
    name: str
    profile: SignedProfile = field(repr=False)


@dataclass(frozen=True, slots=True)
class Listen:
    """Keep a push connection to `url` for `name`; a new one replaces the last one to this URL."""

    url: str
    service: str
    name: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a service says of itself: bytes of one envelope, and how long it keeps (0: for ever)."""

    envelope_bytes: int
    keep_ms: int
