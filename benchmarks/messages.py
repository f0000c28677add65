"""Messages: from one node to the other, and opening a conversation of a large mailbox."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from measure import Row, note
from nodes import node

from dms3.core.codec import encode
from dms3.core.network import MAIN
from dms3.dm3.canonical import canonical
from dms3.dm3.keys import ProfileKeys
from dms3.dm3.message import MessageType, compose
from dms3.messaging.operations import Kept, State
from dms3.messaging.people import blank
from dms3.node.home import Home
from dms3.node.messages import Messages
from dms3.node.metrics import Metrics
from dms3.node.node import Node, open_node
from dms3.node.settings import Settings
from dms3.storage.operations import Item

SENT = 60
PEOPLE = 100
LARGE, SMALL = 100_000, 5_000
BATCH = 500
OPENED = 30
START_MS = 1_700_000_000_000


def rows() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        visible = send_to_visible(Path(folder))
        small = asyncio.run(opening(Path(folder) / "small", SMALL))
        large = asyncio.run(opening(Path(folder) / "large", LARGE))
    return [
        Row(
            "send to visible on the other node, p50",
            1_000 * statistics.median(visible),
            None,
            "",
            "ms",
            150,
            "loopback, node to node: from the request to send until the receiver's node lists it",
        ),
        Row(
            f"open a conversation, mailbox of {LARGE:,} messages, p50",
            1_000 * statistics.median(large),
            1_000 * statistics.median(small),
            f"of {SMALL:,} messages",
            "ms",
            None,
            "the last 50 messages with one of 100 people; the goal is 100 ms",
        ),
    ]


# two processes


def send_to_visible(folder: Path) -> list[float]:
    """Seconds from each send until the other node has the message in its conversation."""
    local = ("--no-mdns",)
    with (
        node(folder / "a", "--name", "a", *local) as one,
        node(folder / "b", "--name", "b", *local) as other,
        one.http() as mine,
        other.http() as theirs,
    ):
        meet(mine, theirs)
        return [once(mine, theirs, number) for number in range(SENT + 5)][5:]


def once(mine: httpx.Client, theirs: httpx.Client, number: int) -> float:
    """One message, from the request until the receiver's page would show it."""
    with theirs.stream("GET", "/api/v1/events", params={"topics": "message.new"}) as events:
        lines = events.iter_lines()
        begun = time.perf_counter()
        call(mine, "message/send", name="b", text=f"number {number}")
        while not next(lines).startswith("data:"):
            pass
        last = call(theirs, "message/conversation", name="a", limit=1)["messages"]
        took = time.perf_counter() - begun
    assert last[0]["text"] == f"number {number}", last
    return took


def meet(mine: httpx.Client, theirs: httpx.Client) -> None:
    call(mine, "contact/add", card=call(theirs, "contact/card")["card"])
    call(theirs, "contact/add", card=call(mine, "contact/card")["card"])
    while not call(mine, "peer/list")["connected"]:
        time.sleep(0.05)


def call(client: httpx.Client, path: str, **arguments: Any) -> Any:
    answer = client.post(f"/api/v1/{path}", json=arguments)
    answer.raise_for_status()
    return answer.json()["data"]


# one process


class Silent:
    """A log that nobody reads."""

    def info(self, event: str, **values: object) -> None: ...

    def error(self, event: str, **values: object) -> None:
        note(f"{event} {values}")


async def opening(folder: Path, total: int) -> list[float]:
    """Seconds that the service takes to open conversations of a mailbox with `total` messages."""
    home = Home(folder)
    home.create()
    settings = Settings("me", ("/ip4/127.0.0.1/tcp/0",), (), MAIN, mdns=False)
    async with open_node(home, bytes(32), settings, Silent(), Metrics()) as opened:
        await fill(opened, total)
        services = Messages(opened)
        took = []
        for number in range(OPENED):
            begun = time.perf_counter()
            found = await services.conversation(f"friend{number}.eth", None, None, 50)
            took.append(time.perf_counter() - begun)
            assert len(found["messages"]) == 50
    return took


async def fill(opened: Node, total: int) -> None:
    """People and their messages, half of them mine, as the machine would have kept them."""
    keys = ProfileKeys.of_seed(bytes(32))
    people = [blank(f"friend{number}.eth", "contact", 0) for number in range(PEOPLE)]
    items = tuple(Item("person", one.id, encode(one)) for one in people)
    await opened.call("mailbox.merge", items)
    note(f"keeping {total:,} messages")
    for start in range(0, total, BATCH):
        some = tuple(kept(keys, number) for number in range(start, start + BATCH))
        await opened.ports["messages"]("keep", some)


def kept(keys: ProfileKeys, number: int) -> Kept:
    person, mine = f"friend{number % PEOPLE}.eth", number % 3 == 0
    sender, receiver = ("me.eth", person) if mine else (person, "me.eth")
    text = f"Message {number}: we meet at {number % 24} o'clock beside the ninth lock. " * 3
    message = compose(
        keys, sender=sender, receiver=receiver, sent_ms=START_MS + 1_000 * number, text=text
    )
    return Kept(
        hash=message.hash,
        person=person,
        mine=mine,
        sender=sender,
        sent_ms=message.sent_ms,
        order_ms=message.sent_ms + 50,
        type=MessageType.NEW,
        reference="",
        state=State.READ if mine else State.RECEIVED,
        text=canonical(message.value()),
    )


if __name__ == "__main__":
    print(json.dumps([row.as_json() for row in rows()], indent=1))
