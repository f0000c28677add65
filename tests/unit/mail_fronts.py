"""Commands of messages over answers that tests set, in the shapes of the real ones."""

# ruff: noqa: ARG001 - commands take a node, whether they need it or not
from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from dms3.api.http import build_front
from dms3.api.sessions import Sessions
from dms3.core.errors import Dms3Error
from dms3.node.table import BlobOrPath, Progress, Result, Secret, Table, command
from unit.fronts import TABLE, TOKEN, Counting, FakeNode, Fixture, Ticking

FINGERPRINT = "4f2a 91c0 0000 ffff 1234 5678 9abc def0"
KEY_NAME = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst.dms3"
HASHES = ["0x" + f"{number:02x}" * 32 for number in range(16)]
HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NOON_US = 1_700_049_600_000_000


def person(known: str, **changes: Any) -> dict[str, Any]:
    """A Person, by default a contact with a card."""
    return {
        "id": known,
        "name": known,
        "names": [known, KEY_NAME],
        "address": "0x" + "5b" * 20,
        "root": "cd" * 32,
        "standing": "contact",
        "fingerprint": FINGERPRINT,
        "verified": False,
        "changed": False,
        "vouched": "card",
    } | changes


def row(number: int, who: str, **changes: Any) -> dict[str, Any]:
    """A Row of a message of `who`, or of mine."""
    return {
        "id": number,
        "hash": HASHES[number],
        "person": who,
        "mine": False,
        "from": who,
        "to": "alice.dms3",
        "type": "NEW",
        "text": f"text {number}",
        "sent_us": NOON_US + number,
        "order_us": NOON_US + number,
        "state": "received",
        "problem": "",
        "retry_us": 0,
        "edited": False,
        "deleted": False,
        "reactions": [],
        "reply": None,
        "attachments": [],
        "information": "",
    } | changes


def reply(number: int, text: str, who: str) -> dict[str, Any]:
    """What a reply says of the message it answers."""
    return {"hash": HASHES[number], "text": text, "from": who}


def file(name: str, media: str, size: int) -> dict[str, Any]:
    """An attachment."""
    return {"name": name, "media": media, "bytes": size}


class Mail:
    """What the commands answer; tests change it. `asked`: commands that change something."""

    def __init__(self) -> None:
        self.people: dict[str, dict[str, Any]] = {}
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self.strangers: set[str] = set()  # who can be found and was never written with
        self.before: dict[str, int | None] = {}
        self.services = [
            {"name": "one.dms3", "url": "http://one:1", "reachable": True, "problem": "",
             "checked_us": NOON_US, "own": True},
            {"name": "<b>two</b>", "url": "http://two:1", "reachable": False,
             "problem": "It did not answer within 5 s.", "checked_us": NOON_US, "own": False},
        ]  # fmt: skip
        self.storage = {
            "kind": "local", "url": "", "items": 3, "bytes": 12_345, "pending": 0, "problem": "",
            "moving": None,
            "offered": [{"kind": "local", "tested": True, "text": ""},
                        {"kind": "s3", "tested": True, "text": "<i>text</i>"},
                        {"kind": "opendal", "tested": False, "text": "Through opendal."}],
        }  # fmt: skip
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def add(self, who: dict[str, Any], *rows: dict[str, Any]) -> None:
        """Somebody, and the messages with them."""
        self.people[who["id"]] = who
        self.rows[who["id"]] = list(rows)

    def find(self, name: str) -> dict[str, Any]:
        """The person of that name."""
        if name not in self.people:
            raise Dms3Error("not_found", f"Nobody is called {name!r}.", hint="Look at it again.")
        return self.people[name]


def make(mail: Mail, node: FakeNode | None = None) -> Fixture:
    """A front whose messages are those of `mail`."""
    clock = Ticking()
    reported: list[tuple[str, BaseException]] = []
    node = node or FakeNode()
    node.mail = mail
    front = build_front(
        node,
        Table((*(one for one in TABLE if one.name != "search"), *COMMANDS)),
        token=TOKEN,
        sessions=Sessions(Counting(), clock),
        report=lambda path, error: reported.append((path, error)),
    )
    return Fixture(node, front, clock, reported)


@command("message", "conversations", example="dms3 message conversations")
async def conversations(node: FakeNode, limit: Annotated[int, "at most"] = 100) -> Result:
    """List conversations."""
    mail = node.mail
    found = [
        {
            "person": mail.people[name],
            "last": rows[-1] if rows else None,
            "unread": sum(one["state"] == "received" for one in rows),
            "total": len(rows),
        }
        for name, rows in mail.rows.items()
    ]
    standings = [one["standing"] for one in mail.people.values()]
    counts = {"requests": standings.count("request"), "blocked": standings.count("blocked")}
    return Result({"conversations": found[:limit], **counts})


@command("message", "conversation", example="dms3 message conversation bob")
async def conversation(
    node: FakeNode,
    name: Annotated[str, "who"],
    before: Annotated[int | None, "before this one"] = None,
    around: Annotated[str | None, "around this one"] = None,
    limit: Annotated[int, "at most"] = 50,
) -> Result:
    """Show a conversation."""
    who = node.mail.find(name)
    rows = [one for one in node.mail.rows[name] if before is None or one["id"] < before]
    earlier = node.mail.before.get(name)
    data = {"person": who, "messages": rows[-limit:], "before": earlier if not before else None}
    data["after"] = 8 if around else None
    return Result(copy.deepcopy(data))


@command("message", "people", example="dms3 message people")
async def people(node: FakeNode) -> Result:
    """List people."""
    known = [one for name, one in node.mail.people.items() if name not in node.mail.strangers]
    return Result({"people": known})


@command("search", example="dms3 search words")
async def search(node: FakeNode, query: Annotated[str, "words"]) -> Result:
    """Find the messages with `query` in them."""
    hits = [
        {"cid": "", "source": "", "title": "", "kind": "message", "space": "", "node": "here",
         "marks": [], "bytes": 1, "snippet": one["text"], "hash": one["hash"], "person": name}
        for name, rows in node.mail.rows.items()
        for one in rows
        if query in (one["text"] or "")
    ]  # fmt: skip
    found = {"hits": hits, "total": len(hits), "milliseconds": 1.0, "unreachable": []}
    return Result(found | {"containers": {"opened": 1, "skipped": 0, "unreachable": 0}})


@command("message", "profile", example="dms3 message profile bob")
async def profile(node: FakeNode, name: Annotated[str | None, "who"] = None) -> Result:
    """Show a profile."""
    who = person("alice.dms3") if name is None else node.mail.find(name)
    services = [{"name": "one.dms3", "url": "http://one:1"}]
    return Result({**who, "services": services, "profile": {}, "problem": ""})


@command("message", "send", example="dms3 message send bob hello")
async def send(
    node: FakeNode,
    name: Annotated[str, "who"],
    text: Annotated[str, "text"],
    attach: Annotated[tuple[BlobOrPath, ...], "files"] = (),
    reply: Annotated[str | None, "to"] = None,
) -> Result:
    """Send."""
    given = {"name": name, "text": text, "attach": [one.value for one in attach], "reply": reply}
    node.mail.asked.append(("send", given))
    return Result({"hash": HASHES[9], "person": name, "state": "queued"})


@command("message", "edit", example="dms3 message edit HASH text")
async def edit(node: FakeNode, hash: Annotated[str, "which"], text: Annotated[str, "t"]) -> Result:  # noqa: A002
    """Edit."""
    return Result({})


@command("message", "delete", example="dms3 message delete HASH")
async def delete(node: FakeNode, hash: Annotated[str, "which"]) -> Result:  # noqa: A002
    """Delete."""
    return Result({})


@command("message", "react", example="dms3 message react HASH text")
async def react(node: FakeNode, hash: Annotated[str, "which"], text: Annotated[str, "t"]) -> Result:  # noqa: A002
    """React."""
    return Result({})


@command("message", "services", example="dms3 message services")
async def services(node: FakeNode) -> Result:
    """List services."""
    return Result({"services": node.mail.services})


@command("message", "uncarry", example="dms3 message uncarry one.dms3")
async def uncarry(node: FakeNode, name: Annotated[str, "service"]) -> Result:
    """Leave a service."""
    return Result({"name": name})


@command("message", "settings", example="dms3 message settings")
async def settings(
    node: FakeNode, receipts: Annotated[Literal["yes", "no"] | None, "tell"] = None
) -> Result:
    """Settings."""
    return Result({"receipts": True, "requests": False})


@command("message", "storage", example="dms3 message storage")
async def storage(node: FakeNode) -> Result:
    """Where conversations are."""
    return Result(node.mail.storage)


@command("message", "store-in", example="dms3 message store-in local")
async def store_in(
    node: FakeNode,
    kind: Annotated[str, "kind"],
    url: Annotated[str | None, "where"] = None,
    secret: Annotated[Secret | None, "what opens it"] = None,
) -> AsyncIterator[Progress | Result]:
    """Move them."""
    yield Progress(1, 2, "messages")
    yield Result({})


@command("message", "devices", example="dms3 message devices")
async def devices(node: FakeNode) -> Result:
    """List devices."""
    other = {"id": "ee" * 32, "name": "<u>phone</u>", "seen_us": NOON_US, "this": False}
    this = {"id": "dd" * 32, "name": "desk", "seen_us": 0, "this": True}
    return Result({"devices": [this, other]})


@command("message", "remove-device", example="dms3 message remove-device ID")
async def remove_device(node: FakeNode, id: Annotated[str, "which"]) -> Result:  # noqa: A002
    """Remove a device."""
    return Result({})


@command("name", "list", example="dms3 name list")
async def name_list(node: FakeNode) -> Result:
    """List names."""
    return Result({"primary": "alice.dms3", "names": ["alice.dms3", KEY_NAME]})


COMMANDS = (
    *(search, conversations, conversation, people, profile, send, edit, delete, react),
    *(services, uncarry, settings, storage, store_in, devices, remove_device, name_list),
)
